import { type OpenELMConfig, presets } from '../config.js'
import { OpenELMError } from '../errors.js'
import type { FloatType } from '../floats.js'
import { NamedTensors } from '../named-tensors.js'
import { floatTypes, tensorHeaders } from '../tensor-headers.js'
import { readStateDict, type StridedTensor } from './read-state-dict.js'

type FloatTensor = StridedTensor & { readonly dtype: FloatType }

/** The weights of a model in a PyTorch file. */
export interface TorchCheckpoint {
  readonly file: string
  readonly config: OpenELMConfig
  /**
   * By Hugging Face name, in the order of `tensorHeaders`. The token embeddings may have more rows than
   * the vocabulary: only the first `vocabSize` count.
   */
  readonly tensors: ReadonlyMap<string, FloatTensor>
}

/** Whether a path has the name of a PyTorch file: it ends in `.pt`, `.pth` or `.bin`. */
export function isTorchFile(path: string): boolean {
  return /\.(pt|pth|bin)$/i.test(path)
}

/**
 * Opens the state dict of a model of the family, alone or in a training checkpoint, with the names of
 * Hugging Face or of CoreNet. Only the places of its tensors are read.
 *
 * @param given the shape of the model. Without it, that of the released model whose shapes the tensors
 *   have.
 * @throws OpenELMError INVALID_ARGUMENT when they have those of none, INVALID_CHECKPOINT, IO_ERROR.
 */
export async function openTorchCheckpoint(
  file: string,
  given?: OpenELMConfig,
): Promise<TorchCheckpoint> {
  const stored = new NamedTensors(await readStateDict(file), file)
  const config = given ?? releasedConfig(stored, file)
  const types = Object.values(floatTypes)
  const tensors = tensorHeaders(config, 'float32').map(
    header => [header.name, stored.take(header, types)] as const,
  )
  return { file, config, tensors: new Map(tensors) }
}

function releasedConfig(stored: NamedTensors<StridedTensor>, file: string): OpenELMConfig {
  const configs = Object.values(presets)
  const fits = (config: OpenELMConfig) =>
    tensorHeaders(config, 'float32').every(header => stored.has(header))
  const config = configs.find(fits)
  if (config !== undefined) return config
  const argument = 'options.config'
  const reason = `the tensors of ${file} have the shapes of no released model`
  throw new OpenELMError('INVALID_ARGUMENT', `expected ${argument}, because ${reason}`, {
    argument,
  })
}
