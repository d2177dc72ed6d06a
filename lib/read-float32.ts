import type { CheckpointTensor } from './checkpoint.js'
import { OpenELMError } from './errors.js'
import { readRange } from './files.js'
import { decodeFloats } from './floats.js'
import { byteLengthOf } from './safetensors.js'

/**
 * A float tensor of a checkpoint as float32.
 *
 * @param shape of the part that is read, from the first row on: CoreNet pads the embedding with rows
 *   that are no tokens. Default all.
 * @throws OpenELMError IO_ERROR, or INVALID_CHECKPOINT for a tensor that holds no floats.
 */
export async function readFloat32(
  tensor: CheckpointTensor,
  shape: readonly number[] = tensor.shape,
): Promise<Float32Array> {
  const { file, name, offset, dtype } = tensor
  if (dtype === 'I8' || dtype === 'U8') {
    throw new OpenELMError('INVALID_CHECKPOINT', `${file}: ${name} is quantised`)
  }
  return decodeFloats(await readRange(file, offset, byteLengthOf({ dtype, shape })), dtype)
}
