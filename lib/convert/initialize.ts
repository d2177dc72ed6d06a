import type { OpenELMConfig } from '../config.js'
import { invalidArgument } from '../errors.js'
import { randomWeights } from '../random-weights.js'
import {
  readChoice,
  readFunction,
  readInteger,
  readObject,
  readPath,
  readSignal,
} from '../validate.js'
import { type WriteOptions, writeCheckpoint } from '../write-checkpoint.js'

/** Options of {@link initialize}. */
export interface InitializeOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** The number format of the weights. Default bfloat16. */
  dtype?: 'float32' | 'float16' | 'bfloat16' | undefined
  /** Which random weights, from 0 to 2^53 - 1. Default 0. */
  seed?: number | undefined
}

/**
 * Writes a checkpoint with random weights, as training starts from. The same seed gives the same weights
 * in every dtype, but for its rounding.
 *
 * @param config the shape of the model, e.g. one of `presets`, or what `parseConfig` returns.
 * @param directory new or empty.
 * @throws OpenELMError INVALID_ARGUMENT, IO_ERROR; or the reason of `options.signal`. Then no part of
 *   the checkpoint is left.
 */
export async function initialize(
  config: OpenELMConfig,
  directory: string,
  options: InitializeOptions = {},
): Promise<void> {
  if (typeof config?.modelDim !== 'number') {
    throw invalidArgument('config', 'an OpenELMConfig', config)
  }
  readPath('directory', directory)
  const given = readObject('options', options)
  const dtypes = ['float32', 'float16', 'bfloat16'] as const
  const dtype = readChoice('options.dtype', given.dtype, dtypes, 'bfloat16')
  const seed = readInteger('options.seed', given.seed, {
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    fallback: 0,
  })
  const onProgress = readFunction<WriteOptions['onProgress']>(
    'options.onProgress',
    given.onProgress,
  )
  const signal = readSignal('options.signal', given.signal)
  const tensors = randomWeights(config, BigInt(seed))
  await writeCheckpoint(directory, config, dtype, tensors, { onProgress, signal })
}
