import type { Checkpoint, CheckpointTensor } from './checkpoint.js'
import { readRange } from './files.js'
import { decodeFloats } from './floats.js'
import { groupSize } from './tensor-headers.js'

/**
 * Rows of a matrix of a checkpoint, [count, columns], as float32, which holds each of its numbers
 * exactly, quantised ones too.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function readRows(
  { tensors }: Checkpoint,
  name: string,
  { first, count, columns }: { first: number; count: number; columns: number },
): Promise<Float32Array> {
  const tensor = tensors.get(name)!
  const read = ({ file, offset, byteLength, shape }: CheckpointTensor) => {
    const rowBytes = byteLength / shape[0]!
    return readRange(file, offset + first * rowBytes, count * rowBytes)
  }
  const { dtype } = tensor
  const bytes = await read(tensor)
  if (dtype !== 'I8' && dtype !== 'U8') return decodeFloats(bytes, dtype)
  const scales = decodeFloats(await read(tensors.get(`${name}_scale`)!), 'F16')
  const groups = scales.length / count
  const values = new Float32Array(count * columns)
  for (let i = 0; i < values.length; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns]
    const group = row * groups + Math.floor(column / groupSize)
    const code = codeAt(bytes, dtype, group, column % groupSize)
    values[i] = code * scales[group]!
  }
  return values
}

/** An element of a group: `tensorHeaders` says where it is. */
function codeAt(bytes: Uint8Array, dtype: 'I8' | 'U8', group: number, element: number): number {
  if (dtype === 'I8') return (bytes[group * groupSize + element]! << 24) >> 24
  const half = groupSize / 2
  const pair = bytes[group * half + (element % half)]!
  return (element < half ? pair & 15 : pair >> 4) - 8
}
