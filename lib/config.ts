import { OpenELMError } from './errors.js'
import { readJsonObject } from './files.js'
import { describeJson, isJsonObject, type JsonObject } from './strict-json.js'

/** One number for all layers, a range [first layer, last layer], or one number for each layer. */
export type Multipliers = number | readonly number[]

/**
 * The shape of a model: the fields of config.json under the same names in camel case, and the
 * per-layer lists that they imply. OpenELM spends its parameters unevenly: heads and FFN width grow
 * with depth, so no list may be replaced by its first entry.
 */
export interface OpenELMConfig {
  readonly vocabSize: number
  /** The longest sequence that the model was trained for, in tokens. */
  readonly maxContextLength: number
  /** config.json calls it `num_transformer_layers`; this is the one place that shortens the name. */
  readonly numLayers: number
  /** Width of the residual stream. */
  readonly modelDim: number
  /** Width of one head, the same in every layer. Even, because RoPE rotates pairs. */
  readonly headDim: number
  /** Query heads that share one key/value head. */
  readonly numGqaGroups: number
  readonly numQueryHeads: readonly number[]
  readonly numKvHeads: readonly number[]
  /** FFN width of each layer; of one half, gate or up, when {@link OpenELMConfig.ffnWithGlu}. */
  readonly ffnDims: readonly number[]
  /** Query width as a fraction of `modelDim`, as config.json gives it. */
  readonly qkvMultipliers: Multipliers
  /** FFN width as a multiple of `modelDim`, as config.json gives it. */
  readonly ffnMultipliers: Multipliers
  readonly ffnDimDivisor: number
  readonly ffnWithGlu: boolean
  readonly activationFnName: 'swish'
  readonly normalizeQkProjections: boolean
  /** Whether the embedding is also the output matrix. */
  readonly shareInputOutputLayers: boolean
  /** Base of the RoPE frequencies, elsewhere known as rope_theta. */
  readonly ropeFreqConstant: number
  /** Length of the RoPE table that Apple's code starts with; not a limit. */
  readonly ropeMaxLength: number
  readonly rmsNormEps: number
  readonly initializerRange: number
  readonly bosTokenId: number
  readonly eosTokenId: number
  /** All of `eos_token_id`, which may be a list; the first is {@link OpenELMConfig.eosTokenId}. */
  readonly eosTokenIds: readonly number[]
}

/** One weight that a model must have. Matrices are [outputs, inputs], row-major. */
export interface TensorSpec {
  readonly name: string
  readonly shape: readonly number[]
  readonly kind: 'matrix' | 'norm'
}

const maxConfigBytes = 1_000_000
const defaultRmsNormEps = 1e-6

/**
 * The multiple of `divisor` nearest to `value`, halves going up, at least `minValue` and never more
 * than 10% below `value`. CoreNet's make_divisible; the 10% rule decides head counts of every
 * released model.
 */
export function makeDivisible(value: number, divisor: number, minValue = divisor): number {
  const nearest = Math.floor(Math.trunc(value + divisor / 2) / divisor) * divisor
  const bounded = Math.max(minValue, nearest)
  return bounded < 0.9 * value ? bounded + divisor : bounded
}

/**
 * NumPy's `round(x, 2)`, which Apple's code applies to a range. It rounds the float64 product, half
 * to even, and so differs from rounding the decimal value: 0.525 becomes 0.52.
 */
function roundToHundredths(value: number): number {
  const scaled = value * 100
  const below = Math.floor(scaled)
  const rest = scaled - below
  const roundsUp = rest > 0.5 || (rest === 0.5 && below % 2 === 1)
  return (roundsUp ? below + 1 : below) / 100
}

/** Expands multipliers to one for each layer. Only a range is rounded, as in Apple's code. */
function perLayer(multipliers: Multipliers, numLayers: number): readonly number[] {
  if (typeof multipliers === 'number') return new Array(numLayers).fill(multipliers)
  if (multipliers.length !== 2) return multipliers
  const [first, last] = multipliers as [number, number]
  const step = (last - first) / Math.max(1, numLayers - 1)
  const isLast = (layer: number) => layer > 0 && layer === numLayers - 1
  return Array.from({ length: numLayers }, (_, layer) =>
    roundToHundredths(isLast(layer) ? last : layer * step + first),
  )
}

type LayerLists = 'numQueryHeads' | 'numKvHeads' | 'ffnDims'

/**
 * Layer-wise scaling: derives the per-layer lists from the multipliers. The formula is in section 2
 * of arXiv 2404.14619; the roundings are those of GPTConfig in CoreNet's general_gpt.py.
 */
function scaleLayers(base: Omit<OpenELMConfig, LayerLists>): OpenELMConfig {
  const { modelDim, headDim, numLayers, numGqaGroups } = base
  const numQueryHeads = perLayer(base.qkvMultipliers, numLayers).map(
    multiplier => makeDivisible(modelDim * multiplier, headDim * numGqaGroups) / headDim,
  )
  const numKvHeads = numQueryHeads.map(heads => heads / numGqaGroups)
  const ffnDims = perLayer(base.ffnMultipliers, numLayers).map(multiplier =>
    makeDivisible(modelDim * multiplier, base.ffnDimDivisor),
  )
  return { ...base, numQueryHeads, numKvHeads, ffnDims }
}

const familyDefaults = {
  vocabSize: 32000,
  maxContextLength: 2048,
  numGqaGroups: 4,
  qkvMultipliers: [0.5, 1.0],
  ffnMultipliers: [0.5, 4.0],
  ffnDimDivisor: 256,
  ffnWithGlu: true,
  activationFnName: 'swish',
  normalizeQkProjections: true,
  shareInputOutputLayers: true,
  ropeFreqConstant: 10000,
  ropeMaxLength: 4096,
  rmsNormEps: defaultRmsNormEps,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenId: 2,
  eosTokenIds: [2],
} as const

function preset(numLayers: number, modelDim: number, headDim: number): OpenELMConfig {
  return scaleLayers({ ...familyDefaults, numLayers, modelDim, headDim })
}

/** The released models, by the names of the paper. */
export const presets: Record<'270M' | '450M' | '1.1B' | '3B', OpenELMConfig> = {
  '270M': preset(16, 1280, 64),
  '450M': preset(20, 1536, 64),
  '1.1B': preset(28, 2048, 64),
  '3B': preset(36, 3072, 128),
}

/**
 * Reads a config.json: one JSON object of at most 1 MB, without equal keys.
 *
 * @throws OpenELMError IO_ERROR when it cannot be read, INVALID_CONFIG as {@link parseConfig}.
 */
export async function readConfig(file: string): Promise<OpenELMConfig> {
  return parseConfig(await readJsonObject(file, maxConfigBytes, 'INVALID_CONFIG'), file)
}

/**
 * Turns the content of a config.json into an {@link OpenELMConfig}.
 *
 * The multipliers are the truth, as in Apple's code, which recomputes the head counts on load:
 * `num_query_heads` and `num_kv_heads` may be absent, but must agree when present. Beyond Apple's
 * code, `qkv_multipliers` may also be a list with one entry for each layer. A list of two is always
 * a range.
 *
 * Absent keys with a default: `ffn_with_glu` true, `ffn_dim_divisor` 256, `activation_fn_name`
 * swish (alias silu), `normalization_layer_name` rms_norm, `rope_freq_constant` 10000,
 * `rope_max_length` 4096, `rms_norm_eps` 1e-6, `initializer_range` 0.02, `bos_token_id` 1,
 * `eos_token_id` 2. Every other key is required; unknown keys are ignored.
 *
 * @param file names the source in error messages. Default `config.json`.
 * @throws OpenELMError INVALID_CONFIG naming the file, the key, what was expected and what came.
 */
export function parseConfig(json: unknown, file = 'config.json'): OpenELMConfig {
  if (!isJsonObject(json)) throw invalid(file, 'the configuration', 'an object', json)
  refuseForeignQuantization(json, file)
  const read = new Reader(json, file)
  read.word('model_type', ['openelm'])
  read.word('activation_fn_name', ['swish', 'silu'])
  read.word('normalization_layer_name', ['rms_norm'])
  const numLayers = read.integer('num_transformer_layers', 1, 512)
  const vocabSize = read.integer('vocab_size', 1, 2 ** 20)
  const eosTokenIds = read.tokenIds('eos_token_id', vocabSize, familyDefaults.eosTokenId)
  const config = scaleLayers({
    vocabSize,
    maxContextLength: read.integer('max_context_length', 1, 2 ** 20),
    numLayers,
    modelDim: read.integer('model_dim', 1, 65536),
    headDim: read.evenInteger('head_dim', 2, 1024),
    numGqaGroups: read.integer('num_gqa_groups', 1, 1024),
    qkvMultipliers: read.multipliers('qkv_multipliers', numLayers),
    ffnMultipliers: read.multipliers('ffn_multipliers', numLayers),
    ffnDimDivisor: read.integer('ffn_dim_divisor', 1, 65536, familyDefaults.ffnDimDivisor),
    ffnWithGlu: read.boolean('ffn_with_glu', familyDefaults.ffnWithGlu),
    activationFnName: 'swish',
    normalizeQkProjections: read.boolean('normalize_qk_projections'),
    shareInputOutputLayers: read.boolean('share_input_output_layers'),
    ropeFreqConstant: read.positive('rope_freq_constant', familyDefaults.ropeFreqConstant),
    ropeMaxLength: read.integer('rope_max_length', 1, 2 ** 20, familyDefaults.ropeMaxLength),
    rmsNormEps: read.positive('rms_norm_eps', defaultRmsNormEps),
    initializerRange: read.positive('initializer_range', familyDefaults.initializerRange),
    bosTokenId: read.integer('bos_token_id', 0, vocabSize - 1, familyDefaults.bosTokenId),
    eosTokenId: eosTokenIds[0]!,
    eosTokenIds,
  })
  read.agreement('num_query_heads', config.numQueryHeads)
  read.agreement('num_kv_heads', config.numKvHeads)
  return config
}

/**
 * The config.json that Hugging Face's tools and Apple's code read, and {@link parseConfig}. FFN
 * multipliers are written one for each layer, because other readers expect that. Apple's code knows
 * neither `rms_norm_eps` nor `qkv_multipliers` with one entry for each layer.
 *
 * @param dtype the `torch_dtype`, e.g. `bfloat16`.
 */
export function configToJson(config: OpenELMConfig, dtype: string): Record<string, unknown> {
  return {
    architectures: ['OpenELMForCausalLM'],
    auto_map: {
      AutoConfig: 'configuration_openelm.OpenELMConfig',
      AutoModelForCausalLM: 'modeling_openelm.OpenELMForCausalLM',
    },
    model_type: 'openelm',
    activation_fn_name: config.activationFnName,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : config.eosTokenId,
    ffn_dim_divisor: config.ffnDimDivisor,
    // A list of two would be a range, which is rounded.
    ffn_multipliers:
      typeof config.ffnMultipliers === 'number' && config.numLayers === 2
        ? config.ffnMultipliers
        : perLayer(config.ffnMultipliers, config.numLayers),
    ffn_with_glu: config.ffnWithGlu,
    head_dim: config.headDim,
    initializer_range: config.initializerRange,
    max_context_length: config.maxContextLength,
    model_dim: config.modelDim,
    normalization_layer_name: 'rms_norm',
    normalize_qk_projections: config.normalizeQkProjections,
    num_gqa_groups: config.numGqaGroups,
    num_kv_heads: config.numKvHeads,
    num_query_heads: config.numQueryHeads,
    num_transformer_layers: config.numLayers,
    qkv_multipliers: config.qkvMultipliers,
    ...(config.rmsNormEps === defaultRmsNormEps ? {} : { rms_norm_eps: config.rmsNormEps }),
    rope_freq_constant: config.ropeFreqConstant,
    rope_max_length: config.ropeMaxLength,
    share_input_output_layers: config.shareInputOutputLayers,
    torch_dtype: dtype,
    use_cache: true,
    vocab_size: config.vocabSize,
  }
}

/**
 * Every weight of the model under its Hugging Face name, in the order the forward pass meets them.
 * The rows of `qkv_proj` are all query heads, then all key heads, then all value heads; those of
 * `proj_1` are the gate, then up.
 */
export function tensorSpecs(config: OpenELMConfig): TensorSpec[] {
  const { modelDim, headDim, vocabSize } = config
  const matrix = (name: string, rows: number, columns: number): TensorSpec => {
    return { name: `${name}.weight`, shape: [rows, columns], kind: 'matrix' }
  }
  const norm = (name: string, length: number): TensorSpec => {
    return { name: `${name}.weight`, shape: [length], kind: 'norm' }
  }

  const specs = [matrix('transformer.token_embeddings', vocabSize, modelDim)]
  for (let layer = 0; layer < config.numLayers; layer++) {
    const prefix = `transformer.layers.${layer}`
    const queryDim = config.numQueryHeads[layer]! * headDim
    const kvDim = config.numKvHeads[layer]! * headDim
    const ffnDim = config.ffnDims[layer]!
    specs.push(
      norm(`${prefix}.attn_norm`, modelDim),
      matrix(`${prefix}.attn.qkv_proj`, queryDim + 2 * kvDim, modelDim),
    )
    if (config.normalizeQkProjections) {
      specs.push(norm(`${prefix}.attn.q_norm`, headDim), norm(`${prefix}.attn.k_norm`, headDim))
    }
    specs.push(
      matrix(`${prefix}.attn.out_proj`, modelDim, queryDim),
      norm(`${prefix}.ffn_norm`, modelDim),
      matrix(`${prefix}.ffn.proj_1`, config.ffnWithGlu ? 2 * ffnDim : ffnDim, modelDim),
      matrix(`${prefix}.ffn.proj_2`, modelDim, ffnDim),
    )
  }
  specs.push(norm('transformer.norm', modelDim))
  if (!config.shareInputOutputLayers) specs.push(matrix('lm_head', vocabSize, modelDim))
  return specs
}

/** How many numbers all weights of the model hold; a tied embedding counts once. */
export function countParameters(config: OpenELMConfig): number {
  const size = (spec: TensorSpec) => spec.shape.reduce((product, length) => product * length, 1)
  return tensorSpecs(config).reduce((sum, spec) => sum + size(spec), 0)
}

/** The weights of such a checkpoint have other names and forms. */
function refuseForeignQuantization(json: JsonObject, file: string): void {
  const { quantization, quantization_config: config } = json
  const method = isJsonObject(config) ? (config.quant_method ?? 'another tool') : undefined
  const tool = isJsonObject(quantization) ? 'MLX' : method
  if (tool === undefined) return
  const advice = 'take the original and quantise it with openelm quantize'
  throw new OpenELMError('INVALID_CONFIG', `${file}: it was quantised by ${tool}; ${advice}`)
}

/** Reads typed fields of a JSON object. Inherited properties do not count as fields. */
class Reader {
  readonly #json: JsonObject
  readonly #file: string

  constructor(json: JsonObject, file: string) {
    this.#json = json
    this.#file = file
  }

  integer(key: string, min: number, max: number, fallback?: number): number {
    const isValid = (value: unknown) => isIntegerIn(value, min, max)
    return this.#field(key, `an integer from ${min} to ${max}`, isValid, fallback) as number
  }

  evenInteger(key: string, min: number, max: number): number {
    const isValid = (value: unknown) => isIntegerIn(value, min, max) && value % 2 === 0
    return this.#field(key, `an even integer from ${min} to ${max}`, isValid) as number
  }

  /** One token id or a list of them. */
  tokenIds(key: string, vocabSize: number, fallback: number): readonly number[] {
    const isId = (value: unknown) => isIntegerIn(value, 0, vocabSize - 1)
    const isValid = (value: unknown) =>
      Array.isArray(value) ? value.length > 0 && value.every(isId) : isId(value)
    const expected = `an integer from 0 to ${vocabSize - 1} or a list of them`
    const ids = this.#field(key, expected, isValid, fallback) as number | readonly number[]
    return typeof ids === 'number' ? [ids] : ids
  }

  positive(key: string, fallback: number): number {
    return this.#field(key, 'a finite number above 0', isPositive, fallback) as number
  }

  boolean(key: string, fallback?: boolean): boolean {
    const isValid = (value: unknown) => typeof value === 'boolean'
    return this.#field(key, 'true or false', isValid, fallback) as boolean
  }

  /** A word that has one meaning, if it is there at all. */
  word(key: string, spellings: readonly string[]): void {
    const expected = spellings.map(spelling => JSON.stringify(spelling)).join(' or ')
    const isValid = (value: unknown) => spellings.includes(value as string)
    this.#field(key, expected, isValid, spellings[0])
  }

  multipliers(key: string, numLayers: number): Multipliers {
    const isMultiplier = (value: unknown) => isPositive(value) && value <= 64
    const isValid = (value: unknown) =>
      Array.isArray(value)
        ? (value.length === 2 || value.length === numLayers) && value.every(isMultiplier)
        : isMultiplier(value)
    const expected = `a number above 0 and up to 64, or a list of 2 or ${numLayers} of them`
    return this.#field(key, expected, isValid) as Multipliers
  }

  /** A list that repeats what follows from other keys, if it is there at all. */
  agreement(key: string, derived: readonly number[]): void {
    const isList = (value: unknown) => Array.isArray(value) && value.length === derived.length
    const list = this.#field(key, `a list of ${derived.length}`, isList, derived) as unknown[]
    for (const [layer, expected] of derived.entries()) {
      if (list[layer] === expected) continue
      const because = `${expected}, which follows from qkv_multipliers`
      throw invalid(this.#file, `${key}[${layer}]`, because, list[layer])
    }
  }

  #field(key: string, expected: string, isValid: (value: unknown) => boolean, fallback?: unknown) {
    const value = Object.hasOwn(this.#json, key) ? this.#json[key] : fallback
    if (isValid(value)) return value
    throw invalid(this.#file, key, expected, value)
  }
}

function isIntegerIn(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}

function isPositive(value: unknown): value is number {
  return Number.isFinite(value) && (value as number) > 0
}

function invalid(file: string, what: string, expected: string, received: unknown): OpenELMError {
  return new OpenELMError(
    'INVALID_CONFIG',
    `${file}: expected ${what} to be ${expected}, received ${describeJson(received)}`,
  )
}
