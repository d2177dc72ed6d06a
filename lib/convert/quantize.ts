import type { Checkpoint, TensorHeader } from '../checkpoint.js'
import { readCompanions } from '../companions.js'
import { defaultThreads } from '../cpu-quota.js'
import { OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import { openUnpacked } from '../open-unpacked.js'
import { integer, oneOf, optional, path, type RulesOf, readOptions } from '../options.js'
import { readFloat32 } from '../read-float32.js'
import { type WriteOptions, writeCheckpoint } from '../write-checkpoint.js'
import { progressOptions } from './progress-options.js'

/** Options of {@link quantize}. */
export interface QuantizeOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** `q8` takes 8.5 bits for each weight; `q4` takes 4.5, and keeps the embedding in q8. */
  dtype: 'q8' | 'q4'
  /** CPU threads, from 1. Default one for each physical core, or what a container's quota allows. */
  threads?: number | undefined
}

const rules = {
  ...progressOptions,
  dtype: oneOf('q8', 'q4'),
  threads: optional(integer(1)),
} satisfies RulesOf<QuantizeOptions>

/**
 * Writes a smaller and faster checkpoint of one in floating point. The tokenizer, the chat template and
 * generation_config.json are copied.
 *
 * @param source the directory of a float checkpoint, or the name of a bundled model.
 * @param directory new or empty.
 * @throws OpenELMError INVALID_ARGUMENT, also when the source is quantised already; MODEL_NOT_FOUND,
 *   INVALID_CONFIG, INVALID_CHECKPOINT, IO_ERROR; or the reason of `options.signal`. Then no part of the
 *   checkpoint is left.
 */
export async function quantize(
  source: string,
  directory: string,
  options: QuantizeOptions,
): Promise<void> {
  path('source', source)
  path('directory', directory)
  const { dtype, threads, onProgress, signal } = readOptions(options, rules)
  const checkpoint = await openUnpacked(source)
  const tensors = quantizedTensors(checkpoint, threads ?? defaultThreads())
  const companions = await readCompanions(checkpoint.directory)
  await writeCheckpoint(directory, checkpoint.config, dtype, tensors, {
    companions,
    onProgress,
    signal,
  })
}

/** Gives the tensors of a quantised checkpoint, from those of a float checkpoint. */
function quantizedTensors({ directory, dtype, tensors }: Checkpoint, threads: number) {
  if (dtype === 'q8' || dtype === 'q4') {
    throw new OpenELMError('INVALID_ARGUMENT', `${directory} is quantised already, as ${dtype}`)
  }
  const addon = loadNative()
  let scales: Uint8Array

  return async function* (header: TensorHeader): AsyncGenerator<Uint8Array> {
    const tensor = tensors.get(header.name)
    if (tensor === undefined) {
      yield scales // writeCheckpoint asks for them right after their matrix
    } else if (tensor.shape.length === 1) {
      yield new Uint8Array((await readFloat32(tensor)).buffer)
    } else {
      // The vocabulary may have fewer rows than its matrix, which CoreNet pads.
      const [rows, cols] = [header.shape[0]!, tensor.shape[1]!]
      const type = header.dtype === 'I8' ? 'q8' : 'q4'
      const matrix = await addon.quantize({ ...tensor, rows, cols }, type, threads)
      scales = matrix.scales
      yield matrix.values
    }
  }
}
