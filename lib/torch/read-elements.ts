import { readBytes, readRange, withFile } from '../files.js'
import { elementBytes } from '../safetensors.js'
import { invalid } from './invalid.js'
import type { StridedTensor } from './read-state-dict.js'

/**
 * The bytes of elements [begin, end) of a tensor, row-major and little-endian, whatever order they lie in.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function readElements(
  tensor: StridedTensor,
  begin: number,
  end: number,
): Promise<Uint8Array> {
  const width = elementBytes[tensor.dtype]
  if (isContiguous(tensor)) {
    return readRange(tensor.file, tensor.offset + begin * width, (end - begin) * width)
  }
  return gather(tensor, placesOf(tensor, begin, end), width)
}

function isContiguous({ shape, strides }: StridedTensor): boolean {
  let expected = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false
    expected *= shape[axis]!
  }
  return true
}

/** How many elements each of them lies behind the first of the tensor. */
function placesOf({ shape, strides }: StridedTensor, begin: number, end: number): Float64Array {
  const places = new Float64Array(end - begin)
  const index = new Array<number>(shape.length).fill(0)
  let rest = begin
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = rest % shape[axis]!
    rest = Math.floor(rest / shape[axis]!)
  }
  let place = index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0)
  for (let i = 0; i < places.length; i++) {
    places[i] = place
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      place += strides[axis]!
      if (++index[axis]! < shape[axis]!) break
      place -= shape[axis]! * strides[axis]!
      index[axis] = 0
    }
  }
  return places
}

const windowBytes = 2 ** 20
/** Elements that are farther apart are read one by one. */
const gapBytes = 2 ** 14

/** Reads them in the order of the file, near ones together. */
async function gather(
  { file, offset }: StridedTensor,
  places: Float64Array,
  width: number,
): Promise<Uint8Array> {
  const gathered = new Uint8Array(places.length * width)
  const order = new Uint32Array(places.length)
  for (let i = 0; i < order.length; i++) order[i] = i
  order.sort((a, b) => places[a]! - places[b]!)
  const bytesBetween = (i: number, j: number) => (places[order[j]!]! - places[order[i]!]!) * width
  await withFile(file, async handle => {
    for (let first = 0, next = 0; first < order.length; first = next) {
      next++
      while (
        next < order.length &&
        bytesBetween(next - 1, next) <= gapBytes &&
        bytesBetween(first, next) <= windowBytes
      ) {
        next++
      }
      const length = bytesBetween(first, next - 1) + width
      const position = offset + places[order[first]!]! * width
      const bytes = await readBytes(handle, file, position, length)
      if (bytes.length < length) throw invalid(file, 'the file shrank while it was read')
      for (let i = first; i < next; i++) {
        const from = bytesBetween(first, i)
        gathered.set(bytes.subarray(from, from + width), order[i]! * width)
      }
    }
  })
  return gathered
}
