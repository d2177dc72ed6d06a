import { writeWhole } from '../files.js'
import { path, readOptions } from '../options.js'
import { byteLengthOf, elementBytes, encodeSafetensorsHeader } from '../safetensors.js'
import { readElements } from '../torch/read-elements.js'
import { readStateDict } from '../torch/read-state-dict.js'
import type { WriteOptions } from '../write-checkpoint.js'
import { progressOptions } from './progress-options.js'

/** Options of {@link torchToSafetensors}. */
export type TorchToSafetensorsOptions = Pick<WriteOptions, 'onProgress' | 'signal'>

/**
 * Writes all tensors of a PyTorch file (`.pt`, `.pth`, `.bin`) into one safetensors file, under their own
 * names and as they are: for what is no model, such as Apple's adapters. Reads the files that
 * `torchToCheckpoint` reads. Tensors that share their numbers get them each; views are written without
 * what they skip.
 *
 * @param out replaced if it is there.
 * @throws OpenELMError INVALID_ARGUMENT, IO_ERROR, INVALID_CHECKPOINT; or the reason of `options.signal`.
 *   Then no file is written.
 */
export async function torchToSafetensors(
  file: string,
  out: string,
  options?: TorchToSafetensorsOptions,
): Promise<void> {
  path('file', file)
  path('out', out)
  const { onProgress, signal } = readOptions(options, progressOptions)
  const stateDict = await readStateDict(file)
  // Wide elements first, so that each tensor begins at a multiple of its element size.
  const tensors = stateDict.toSorted((a, b) => elementBytes[b.dtype] - elementBytes[a.dtype])
  const total = tensors.reduce((sum, tensor) => sum + byteLengthOf(tensor), 0)
  let done = 0
  await writeWhole(out, content())

  async function* content() {
    yield encodeSafetensorsHeader(tensors, { format: 'pt' })
    for (const tensor of tensors) {
      const size = tensor.shape.reduce((product, length) => product * length, 1)
      for (let begin = 0; begin < size; begin += partSize) {
        signal?.throwIfAborted()
        const bytes = await readElements(tensor, begin, Math.min(begin + partSize, size))
        yield bytes
        done += bytes.length
        onProgress?.(done, total)
      }
    }
  }
}

/** Elements that are in memory at a time. */
const partSize = 2 ** 18
