import { decodeFloats, encodeFloats, type FloatType } from '../../floats.js'
import { groupSize } from '../../tensor-headers.js'
import { type BlockType, blockBytes, decodeBlocks, encodeBlocks, widenBlocks } from './blocks.js'
import { decodeQ6K, q6kBlockBytes, q6kGroupSize } from './q6k.js'

/** What a tensor of a GGUF file is written as, by ggml's names. */
export type GgmlType = FloatType | BlockType

/** What a tensor of a GGUF file may be stored as. */
export type StoredType = GgmlType | 'Q6_K'

/** The numbers that stand for the types in a file. */
export const ggmlTypeIds: Record<StoredType, number> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q8_0: 8,
  Q6_K: 14,
  BF16: 30,
}

/** Whether a type has a twin among the types of this package. */
export function isBlockType(type: StoredType): type is BlockType {
  return Object.hasOwn(blockBytes, type)
}

/** How many numbers of a row a type keeps together. */
export function groupSizeOf(type: StoredType): number {
  return type === 'Q6_K' ? q6kGroupSize : isBlockType(type) ? groupSize : 1
}

/** Bytes of a row of `columns` numbers, a multiple of the type's group. */
export function rowBytes(columns: number, type: StoredType): number {
  if (type === 'Q6_K') return (columns / q6kGroupSize) * q6kBlockBytes
  if (isBlockType(type)) return (columns / groupSize) * blockBytes[type]
  return columns * (type === 'F32' ? 4 : 2)
}

/** The same numbers in another type, rounded to it where they must be. */
export function recode(bytes: Uint8Array, from: StoredType, to: GgmlType): Uint8Array {
  if (from === to) return bytes
  if (from === 'Q4_0' && to === 'Q8_0') return widenBlocks(bytes)
  const values = decode(bytes, from)
  return isBlockType(to) ? encodeBlocks(values, to) : encodeFloats(values, to)
}

function decode(bytes: Uint8Array, type: StoredType): Float32Array {
  if (type === 'Q6_K') return decodeQ6K(bytes)
  return isBlockType(type) ? decodeBlocks(bytes, type) : decodeFloats(bytes, type)
}
