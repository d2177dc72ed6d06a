import { float16ToNumber } from '../../floats.js'

/** Numbers of a block. */
export const q6kGroupSize = 256
/** 128 bytes of low nibbles, 64 of high bits, 16 int8 scales, and the float16 scale of all. */
export const q6kBlockBytes = 210

/**
 * The numbers of ggml's Q6_K, in which llama.cpp keeps the embedding of its Q4_0 files. Halves of a block
 * are alike: number 32k + l of a half, k from 0 to 3, has its low 4 bits in the nibble k >> 1 of byte
 * 32 (k & 1) + l of the half's 64, its high 2 bits in bits 2k and 2k + 1 of byte l of the half's 32, and
 * a scale to share with 15 others; 32 is subtracted. Exact: float32 holds every product.
 */
export function decodeQ6K(bytes: Uint8Array): Float32Array {
  const values = new Float32Array((bytes.length / q6kBlockBytes) * q6kGroupSize)
  for (let i = 0; i < values.length; i++) {
    const at = Math.floor(i / q6kGroupSize) * q6kBlockBytes
    const half = (i >> 7) & 1
    const [k, l] = [(i >> 5) & 3, i & 31]
    const low = (bytes[at + 64 * half + 32 * (k & 1) + l]! >> (4 * (k >> 1))) & 15
    const high = (bytes[at + 128 + 32 * half + l]! >> (2 * k)) & 3
    const scale = (bytes[at + 192 + ((i >> 4) & 15)]! << 24) >> 24
    const scaleOfAll = float16ToNumber(bytes[at + 208]! | (bytes[at + 209]! << 8))
    values[i] = scaleOfAll * scale * ((low | (high << 4)) - 32)
  }
  return values
}
