import { decodeFloats, encodeFloats, type FloatType } from '../../floats.js'
import { groupSize } from '../../tensor-headers.js'
import { type BlockType, blockBytes, decodeBlocks, encodeBlocks, widenBlocks } from './blocks.js'

/** What a tensor of a GGUF file may be stored as, by ggml's names. */
export type GgmlType = FloatType | BlockType

/** The numbers that stand for the types in a file. */
export const ggmlTypeIds: Record<GgmlType, number> = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8, BF16: 30 }

export function isBlockType(type: GgmlType): type is BlockType {
  return Object.hasOwn(blockBytes, type)
}

/** Bytes of a row of `columns` numbers, of which blocks need a multiple of 32. */
export function rowBytes(columns: number, type: GgmlType): number {
  if (isBlockType(type)) return (columns / groupSize) * blockBytes[type]
  return columns * (type === 'F32' ? 4 : 2)
}

/** The same numbers in another type, rounded to it where they must be. */
export function recode(bytes: Uint8Array, from: GgmlType, to: GgmlType): Uint8Array {
  if (from === to) return bytes
  if (from === 'Q4_0' && to === 'Q8_0') return widenBlocks(bytes)
  const values = isBlockType(from) ? decodeBlocks(bytes, from) : decodeFloats(bytes, from)
  return isBlockType(to) ? encodeBlocks(values, to) : encodeFloats(values, to)
}
