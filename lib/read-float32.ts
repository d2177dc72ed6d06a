import type { CheckpointTensor } from './checkpoint.js'
import { OpenELMError } from './errors.js'
import { openFile, readBytes } from './files.js'

/**
 * A float tensor of a checkpoint as float32.
 *
 * @throws OpenELMError IO_ERROR, or INVALID_CHECKPOINT for a tensor that holds no floats.
 */
export async function readFloat32(tensor: CheckpointTensor): Promise<Float32Array> {
  const { file, name, offset, byteLength, dtype } = tensor
  if (dtype === 'I8' || dtype === 'U8') {
    throw new OpenELMError('INVALID_CHECKPOINT', `${file}: ${name} is quantised`)
  }
  const { handle } = await openFile(file)
  await using _ = handle
  // Copied, for the values may begin at any byte of the buffer.
  const bytes = Uint8Array.from(await readBytes(handle, file, offset, byteLength)).buffer
  if (dtype === 'F32') return new Float32Array(bytes)
  const toFloat = dtype === 'BF16' ? bfloat16ToNumber : float16ToNumber
  return Float32Array.from(new Uint16Array(bytes), toFloat)
}

const scratch = new Float32Array(1)
const scratchBits = new Uint32Array(scratch.buffer)

function bfloat16ToNumber(bits: number): number {
  scratchBits[0] = bits << 16
  return scratch[0]!
}

function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = (bits & 0x3ff) / 0x400
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15)
}

/** Rounds to nearest, ties to even; a NaN stays one. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  return Uint16Array.from(bits, bits => {
    if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
  })
}
