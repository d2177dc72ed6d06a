import type { CheckpointTensor } from './checkpoint.js'
import { OpenELMError } from './errors.js'
import { readRange } from './files.js'
import { decodeFloats } from './floats.js'

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
  return decodeFloats(await readRange(file, offset, byteLength), dtype)
}
