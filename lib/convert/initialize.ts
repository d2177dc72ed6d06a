import type { OpenELMConfig } from '../config.js'
import { configRule } from '../config-rule.js'
import { integer, oneOf, optional, path, type RulesOf, readOptions } from '../options.js'
import { randomWeights } from '../random-weights.js'
import { type WriteOptions, writeCheckpoint } from '../write-checkpoint.js'
import { progressOptions } from './progress-options.js'

/** Options of {@link initialize}. */
export interface InitializeOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** The number format of the weights. Default bfloat16. */
  dtype?: 'float32' | 'float16' | 'bfloat16' | undefined
  /** Which random weights, from 0 to 2^53 - 1. Default 0. */
  seed?: number | undefined
}

const rules = {
  ...progressOptions,
  dtype: optional(oneOf('float32', 'float16', 'bfloat16'), 'bfloat16'),
  seed: optional(integer(0), 0),
} satisfies RulesOf<InitializeOptions>

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
  options?: InitializeOptions,
): Promise<void> {
  configRule('config', config)
  path('directory', directory)
  const { dtype, seed, onProgress, signal } = readOptions(options, rules)
  const tensors = randomWeights(config, BigInt(seed))
  await writeCheckpoint(directory, config, dtype, tensors, { onProgress, signal })
}
