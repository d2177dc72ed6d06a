/** The float types of safetensors that a checkpoint may hold, little-endian. */
export type FloatType = 'F32' | 'F16' | 'BF16'

/** Numbers as float32, which holds each of them exactly. The bytes may have any alignment. */
export function decodeFloats(bytes: Uint8Array, type: FloatType): Float32Array {
  const aligned = Uint8Array.from(bytes).buffer
  if (type === 'F32') return new Float32Array(aligned)
  const halves = new Uint16Array(aligned)
  const values = new Float32Array(halves.length)
  const bits = new Uint32Array(values.buffer)
  if (type === 'BF16') {
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16
  } else {
    for (let i = 0; i < halves.length; i++) values[i] = float16ToNumber(halves[i]!)
  }
  return values
}

/** Rounds to nearest, ties to even; what is too large becomes infinite, and a NaN stays one. */
export function encodeFloats(values: Float32Array, type: FloatType): Uint8Array {
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const halves = new Uint16Array(values.length)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const toHalf = type === 'BF16' ? bitsToBfloat16 : bitsToFloat16
  for (let i = 0; i < bits.length; i++) halves[i] = toHalf(bits[i]!)
  return new Uint8Array(halves.buffer)
}

export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = (bits & 0x3ff) / 0x400
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15)
}

const scratch = new Float32Array(1)
const scratchBits = new Uint32Array(scratch.buffer)

/** The bits of the float16 nearest to a float32. */
export function numberToFloat16(value: number): number {
  scratch[0] = value
  return bitsToFloat16(scratchBits[0]!)
}

function bitsToBfloat16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

function bitsToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00 // rounds to 65536 or more
  if (magnitude < 0x38800000) {
    // Subnormal: in units of 2^-24, which the sum with 0.5 rounds to.
    scratchBits[0] = magnitude
    scratch[0] = scratch[0]! + 0.5
    return sign | (scratchBits[0]! - 0x3f000000)
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}
