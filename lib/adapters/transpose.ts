/**
 * The transpose of the first columns of a matrix.
 *
 * @param values row-major, [rows, columns].
 * @param kept how many columns. Default all.
 * @returns [kept, rows]
 */
export function transpose(values: Float32Array, columns: number, kept = columns): Float32Array {
  const rows = values.length / columns
  const result = new Float32Array(kept * rows)
  for (let column = 0; column < kept; column++) {
    for (let row = 0; row < rows; row++) {
      result[column * rows + row] = values[row * columns + column]!
    }
  }
  return result
}
