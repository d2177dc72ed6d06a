import { float16ToNumber, numberToFloat16 } from '../../floats.js'
import { groupSize } from '../../tensor-headers.js'

/**
 * The quantised formats of GGUF that have a twin here. A block is 32 numbers of a row: a float16 scale
 * d and, in Q8_0, 32 int8 q for the numbers q * d; in Q4_0, 16 bytes of which byte j holds number j in
 * its low nibble and number j + 16 in its high one, for (nibble - 8) * d. q8 and q4 are the same but
 * for keeping scales and values apart.
 */
export type BlockType = 'Q8_0' | 'Q4_0'

const scaleBytes = 2
export const blockBytes = { Q8_0: scaleBytes + groupSize, Q4_0: scaleBytes + groupSize / 2 }

const { fround } = Math

/** Quantises as ggml's quantize_row_q8_0_ref and quantize_row_q4_0_ref do, in float32. */
export function encodeBlocks(values: Float32Array, type: BlockType): Uint8Array {
  const encode = type === 'Q8_0' ? encodeQ8 : encodeQ4
  const size = blockBytes[type]
  const bytes = new Uint8Array((values.length / groupSize) * size)
  for (let block = 0; block * size < bytes.length; block++) {
    encode(values, block * groupSize, bytes, block * size)
  }
  return bytes
}

function encodeQ8(values: Float32Array, from: number, bytes: Uint8Array, to: number): void {
  let largest = 0
  for (let i = 0; i < groupSize; i++) largest = Math.max(largest, Math.abs(values[from + i]!))
  const scale = fround(largest / 127)
  const inverse = scale === 0 ? 0 : fround(1 / scale)
  writeScale(scale, bytes, to)
  for (let i = 0; i < groupSize; i++) {
    const scaled = fround(values[from + i]! * inverse)
    // Halves away from zero, as C's roundf.
    bytes[to + scaleBytes + i] = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5)
  }
}

function encodeQ4(values: Float32Array, from: number, bytes: Uint8Array, to: number): void {
  let extreme = 0 // of largest magnitude, with its sign
  for (let i = 0; i < groupSize; i++) {
    if (Math.abs(values[from + i]!) > Math.abs(extreme)) extreme = values[from + i]!
  }
  const scale = fround(extreme / -8)
  const inverse = scale === 0 ? 0 : fround(1 / scale)
  writeScale(scale, bytes, to)
  const nibble = (i: number) =>
    Math.min(15, Math.trunc(fround(fround(values[from + i]! * inverse) + 8.5)))
  for (let j = 0; j < groupSize / 2; j++) {
    bytes[to + scaleBytes + j] = nibble(j) | (nibble(j + groupSize / 2) << 4)
  }
}

function writeScale(scale: number, bytes: Uint8Array, at: number): void {
  const half = numberToFloat16(scale)
  bytes[at] = half & 0xff
  bytes[at + 1] = half >> 8
}

/** Exact: float32 holds every product of a scale and a quantised value. */
export function decodeBlocks(bytes: Uint8Array, type: BlockType): Float32Array {
  const size = blockBytes[type]
  const values = new Float32Array((bytes.length / size) * groupSize)
  for (let block = 0; block * size < bytes.length; block++) {
    const at = block * size
    const scale = float16ToNumber(bytes[at]! | (bytes[at + 1]! << 8))
    const to = block * groupSize
    for (let i = 0; i < size - scaleBytes; i++) {
      const byte = bytes[at + scaleBytes + i]!
      if (type === 'Q8_0') {
        values[to + i] = ((byte << 24) >> 24) * scale
      } else {
        values[to + i] = ((byte & 15) - 8) * scale
        values[to + i + groupSize / 2] = ((byte >> 4) - 8) * scale
      }
    }
  }
  return values
}

/** Blocks of the values and scales of q8 or q4. */
export function joinBlocks(values: Uint8Array, scales: Uint8Array, type: BlockType): Uint8Array {
  const size = blockBytes[type]
  const valueBytes = size - scaleBytes
  const bytes = new Uint8Array((scales.length / scaleBytes) * size)
  for (let block = 0; block * size < bytes.length; block++) {
    const [at, scale, value] = [block * size, block * scaleBytes, block * valueBytes]
    bytes.set(scales.subarray(scale, scale + scaleBytes), at)
    bytes.set(values.subarray(value, value + valueBytes), at + scaleBytes)
  }
  return bytes
}

/** The values of q8 or q4 out of blocks, and their scales. */
export function splitBlocks(bytes: Uint8Array, type: BlockType) {
  const size = blockBytes[type]
  const valueBytes = size - scaleBytes
  const count = bytes.length / size
  const values = new Uint8Array(count * valueBytes)
  const scales = new Uint8Array(count * scaleBytes)
  for (let block = 0; block < count; block++) {
    const at = block * size
    scales.set(bytes.subarray(at, at + scaleBytes), block * scaleBytes)
    values.set(bytes.subarray(at + scaleBytes, at + size), block * valueBytes)
  }
  return { values, scales }
}

/** Q4_0 as Q8_0 of the same numbers. */
export function widenBlocks(bytes: Uint8Array): Uint8Array {
  const { values, scales } = splitBlocks(bytes, 'Q4_0')
  const wide = new Uint8Array(values.length * 2)
  for (let i = 0; i < values.length; i++) {
    const half = groupSize / 2
    const at = Math.floor(i / half) * groupSize + (i % half)
    wide[at] = (values[i]! & 15) - 8
    wide[at + half] = (values[i]! >> 4) - 8
  }
  return joinBlocks(wide, scales, 'Q8_0')
}
