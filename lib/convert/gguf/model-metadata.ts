import {
  configToJson,
  type Multipliers,
  type OpenELMConfig,
  parseConfig,
  presets,
} from '../../config.js'
import { OpenELMError } from '../../errors.js'
import type { Metadata, MetadataValue } from './header.js'
import { architectureOf } from './layout.js'
import type { MetadataReader } from './metadata-reader.js'

/** The shape of a model as llama.cpp reads it. */
export function modelMetadata(config: OpenELMConfig): Metadata {
  const architecture = architectureOf(config)
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
  const f32 = (value: number): MetadataValue => ({ type: 'f32', value })
  const list = (value: readonly number[]): MetadataValue => ({ type: 'array', of: 'i32', value })
  return new Map<string, MetadataValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    [`${architecture}.block_count`, u32(config.numLayers)],
    [`${architecture}.context_length`, u32(config.maxContextLength)],
    [`${architecture}.embedding_length`, u32(config.modelDim)],
    [`${architecture}.vocab_size`, u32(config.vocabSize)],
    [`${architecture}.feed_forward_length`, list(config.ffnDims)],
    [`${architecture}.attention.head_count`, list(config.numQueryHeads)],
    [`${architecture}.attention.head_count_kv`, list(config.numKvHeads)],
    [`${architecture}.attention.key_length`, u32(config.headDim)],
    [`${architecture}.attention.value_length`, u32(config.headDim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, f32(config.rmsNormEps)],
    [`${architecture}.rope.dimension_count`, u32(config.headDim)],
    [`${architecture}.rope.freq_base`, f32(config.ropeFreqConstant)],
  ])
}

/**
 * The config of a model in GGUF. What GGUF does not tell, it takes from the released models: the
 * multipliers, where they give the same widths, and what matters to training alone.
 *
 * @param matrix the [rows, columns] of a tensor, if it is there.
 * @throws OpenELMError INVALID_GGUF, INVALID_CONFIG, or NOT_CONVERTIBLE when OpenELM has no such model.
 */
export function configFromMetadata(
  read: MetadataReader,
  matrix: (name: string) => readonly number[] | undefined,
): OpenELMConfig {
  const architecture = read.string('general.architecture')
  if (architecture !== 'openelm' && architecture !== 'llama') {
    throw notConvertible(`${read.file}: its architecture is ${JSON.stringify(architecture)}`)
  }
  const key = (name: string) => `${architecture}.${name}`
  const scaling = read.string(key('rope.scaling.type'), 'none')
  if (scaling !== 'none') throw notConvertible(`${read.file}: its positions are scaled: ${scaling}`)

  const numLayers = read.integer(key('block_count'))
  const modelDim = read.integer(key('embedding_length'))
  const heads = read.perLayer(key('attention.head_count'), numLayers)
  const kvHeads = read.perLayer(key('attention.head_count_kv'), numLayers, heads)
  const headDim = read.integer(key('attention.key_length'), modelDim / heads[0]!)
  for (const name of ['attention.value_length', 'rope.dimension_count']) {
    if (read.integer(key(name), headDim) !== headDim) {
      throw notConvertible(`${read.file}: ${key(name)} is not the width of a head, ${headDim}`)
    }
  }
  const eosTokenId = read.integer('tokenizer.ggml.eos_token_id', 2)
  return withSameLists(read.file, {
    numLayers,
    modelDim,
    headDim,
    numQueryHeads: heads,
    numKvHeads: kvHeads,
    ffnDims: read.perLayer(key('feed_forward_length'), numLayers),
    vocabSize: matrix('token_embd.weight')?.[0] ?? read.integer(key('vocab_size')),
    maxContextLength: read.integer(key('context_length')),
    ropeFreqConstant: read.decimal(key('rope.freq_base'), 10000),
    rmsNormEps: read.decimal(key('attention.layer_norm_rms_epsilon')),
    normalizeQkProjections: architecture === 'openelm',
    shareInputOutputLayers: matrix('output.weight') === undefined,
    bosTokenId: read.integer('tokenizer.ggml.bos_token_id', 1),
    eosTokenId,
    eosTokenIds: [eosTokenId],
  })
}

/** Finds multipliers that give the widths of the layers: those of the released models, or one for each. */
function withSameLists(file: string, known: Partial<OpenELMConfig>): OpenELMConfig {
  const { modelDim, headDim, numQueryHeads, numKvHeads, ffnDims } = known as OpenELMConfig
  const numGqaGroups = numQueryHeads[0]! / numKvHeads[0]!
  const base = { ...presets['270M'], ...known, numGqaGroups }
  const candidates = [
    {},
    {
      qkvMultipliers: oneIfEqual(numQueryHeads.map(heads => (heads * headDim) / modelDim)),
      ffnMultipliers: oneIfEqual(ffnDims.map(dim => dim / modelDim)),
      ffnDimDivisor: ffnDims.reduce(greatestCommonDivisor),
    },
  ]
  for (const candidate of candidates) {
    const json = configToJson({ ...base, ...candidate }, 'float32')
    const { num_query_heads, num_kv_heads, ...rest } = json
    const config = parseConfig(rest, file)
    const isSame = (['numQueryHeads', 'numKvHeads', 'ffnDims'] as const).every(
      name => String(config[name]) === String(known[name]),
    )
    if (isSame) return config
  }
  throw notConvertible(`${file}: no multipliers give its numbers of heads and FFN widths`)
}

/** A list of two would be a range, which is rounded. */
function oneIfEqual(multipliers: readonly number[]): Multipliers {
  return multipliers.every(value => value === multipliers[0]) ? multipliers[0]! : multipliers
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

function notConvertible(message: string): OpenELMError {
  return new OpenELMError('NOT_CONVERTIBLE', message)
}
