/**
 * The oracle: OpenELM's forward pass in float64, written to be read. It imports nothing, so that it
 * can agree with the engine only by both being right.
 *
 * Matrices are row-major. T is the number of tokens, S the number of keys they can see, d the width of
 * the model, h the width of a head.
 */

export type Floats = Float64Array | Float32Array
export type Weights = ReadonlyMap<string, Floats>
export type Tokens = ArrayLike<number>

/** config.json, as Hugging Face stores it. */
export interface ConfigJson {
  model_type?: string
  vocab_size: number
  max_context_length?: number
  num_transformer_layers: number
  model_dim: number
  head_dim: number
  qkv_multipliers: number | number[]
  num_gqa_groups: number
  ffn_multipliers: number | number[]
  ffn_dim_divisor: number
  ffn_with_glu: boolean
  normalize_qk_projections: boolean
  share_input_output_layers: boolean
  rope_freq_constant: number
  rms_norm_eps?: number
  num_query_heads?: number[]
  num_kv_heads?: number[]
  [key: string]: unknown
}

/** The part of the model's shape that layer-wise scaling gives each layer for itself. */
export interface LayerShape {
  headDim: number
  numQueryHeads: number
  numKvHeads: number
  ffnDim: number
}

/** The whole model: the scores after each token, [T, vocabulary]. */
export function referenceLogits(config: ConfigJson, weights: Weights, tokens: Tokens) {
  const { model_dim: modelDim, rms_norm_eps: eps = 1e-6 } = config
  const embedding = weightOf(weights, 'transformer.token_embeddings')
  const head = config.share_input_output_layers ? embedding : weightOf(weights, 'lm_head')

  const x = embed(tokens, embedding, modelDim)
  for (const [layer, shape] of layerShapes(config).entries()) {
    const weight = (name: string) => weightOf(weights, `transformer.layers.${layer}.${name}`)
    add(x, selfAttention(rmsNorm(x, weight('attn_norm'), eps), config, shape, weight))
    add(x, feedForward(rmsNorm(x, weight('ffn_norm'), eps), config, shape, weight))
  }
  return matmul(rmsNorm(x, weightOf(weights, 'transformer.norm'), eps), head, modelDim)
}

type LayerWeight = (name: string) => Float64Array

function selfAttention(x: Floats, config: ConfigJson, shape: LayerShape, weight: LayerWeight) {
  const { rope_freq_constant: base, rms_norm_eps: eps = 1e-6 } = config
  const qDim = shape.numQueryHeads * shape.headDim
  const kvDim = shape.numKvHeads * shape.headDim

  const qkv = matmul(x, weight('attn.qkv_proj'), config.model_dim)
  let [q, k, v] = splitColumns(qkv, [qDim, kvDim, kvDim]) as [Floats, Floats, Floats]
  if (config.normalize_qk_projections) {
    q = rmsNorm(q, weight('attn.q_norm'), eps)
    k = rmsNorm(k, weight('attn.k_norm'), eps)
  }
  const positions = Array.from({ length: q.length / qDim }, (_, t) => t)
  q = rope(q, positions, shape.headDim, base)
  k = rope(k, positions, shape.headDim, base)
  return matmul(attention(q, k, v, positions, shape), weight('attn.out_proj'), qDim)
}

function feedForward(x: Floats, config: ConfigJson, shape: LayerShape, weight: LayerWeight) {
  const inner = matmul(x, weight('ffn.proj_1'), config.model_dim)
  const activated = config.ffn_with_glu ? swiglu(inner, shape.ffnDim) : inner.map(silu)
  return matmul(activated, weight('ffn.proj_2'), shape.ffnDim)
}

/** tokens [T], embedding [V, d] -> [T, d] */
export function embed(tokens: Tokens, embedding: Floats, modelDim: number): Float64Array {
  const x = new Float64Array(tokens.length * modelDim)
  for (let t = 0; t < tokens.length; t++) {
    const start = tokens[t]! * modelDim
    x.set(embedding.subarray(start, start + modelDim), t * modelDim)
  }
  return x
}

/** Every run of weight.length values is one row, so that the norm of a head is the same function. */
export function rmsNorm(x: Floats, weight: Floats, eps = 1e-6): Float64Array {
  const width = weight.length
  const y = new Float64Array(x.length)
  for (let start = 0; start < x.length; start += width) {
    let sumOfSquares = 0
    for (let i = 0; i < width; i++) sumOfSquares += x[start + i]! ** 2
    const scale = 1 / Math.sqrt(sumOfSquares / width + eps)
    for (let i = 0; i < width; i++) y[start + i] = x[start + i]! * scale * weight[i]!
  }
  return y
}

/** x [T, columns], weight [rows, columns] -> x weightᵀ [T, rows] */
export function matmul(x: Floats, weight: Floats, columns: number): Float64Array {
  const numTokens = x.length / columns
  const rows = weight.length / columns
  const y = new Float64Array(numTokens * rows)
  for (let row = 0; row < rows; row++) {
    for (let t = 0; t < numTokens; t++) {
      y[t * rows + row] = dot(weight, row * columns, x, t * columns, columns)
    }
  }
  return y
}

/**
 * Rotates each head of x [T, heads * h] by the angles of its token's position. Element j pairs with
 * element j + h/2, not with its neighbour.
 */
export function rope(x: Floats, positions: Tokens, headDim: number, base: number): Float64Array {
  const y = new Float64Array(x.length)
  const width = x.length / positions.length
  const half = headDim / 2
  for (let t = 0; t < positions.length; t++) {
    for (let j = 0; j < half; j++) {
      const angle = positions[t]! * base ** (-j / half)
      const cos = Math.cos(angle)
      const sin = Math.sin(angle)
      for (let i = t * width + j; i < (t + 1) * width; i += headDim) {
        const a = x[i]!
        const b = x[i + half]!
        y[i] = a * cos - b * sin
        y[i + half] = b * cos + a * sin
      }
    }
  }
  return y
}

/**
 * Causal grouped-query attention: a token at position p sees the keys 0..p, and consecutive query
 * heads share a KV head. q [T, numQueryHeads * h], k and v [S, numKvHeads * h] -> [T, numQueryHeads * h]
 */
export function attention(
  q: Floats,
  k: Floats,
  v: Floats,
  positions: Tokens,
  { numQueryHeads, numKvHeads, headDim }: Omit<LayerShape, 'ffnDim'>,
): Float64Array {
  const out = new Float64Array(q.length)
  const kvDim = numKvHeads * headDim
  for (let t = 0; t < positions.length; t++) {
    const scores = new Float64Array(positions[t]! + 1)
    for (let head = 0; head < numQueryHeads; head++) {
      const query = (t * numQueryHeads + head) * headDim
      const kv = Math.floor((head * numKvHeads) / numQueryHeads) * headDim
      for (let s = 0; s < scores.length; s++) {
        scores[s] = dot(q, query, k, s * kvDim + kv, headDim) / Math.sqrt(headDim)
      }
      const logSum = logSumExp(scores)
      for (let s = 0; s < scores.length; s++) {
        const probability = Math.exp(scores[s]! - logSum)
        for (let i = 0; i < headDim; i++) {
          out[query + i]! += probability * v[s * kvDim + kv + i]!
        }
      }
    }
  }
  return out
}

/** x [T, 2 ffnDim] is the gate, then the value it gates -> [T, ffnDim] */
export function swiglu(x: Floats, ffnDim: number): Float64Array {
  const [gate, up] = splitColumns(x, [ffnDim, ffnDim]) as [Float64Array, Float64Array]
  return gate.map((value, i) => silu(value) * up[i]!)
}

export function silu(x: number): number {
  return x / (1 + Math.exp(-x))
}

/** Cuts the columns of x into matrices of the given widths. */
export function splitColumns(x: Floats, widths: readonly number[]): Float64Array[] {
  const total = widths.reduce((sum, width) => sum + width, 0)
  let column = 0
  return widths.map(width => {
    const part = new Float64Array((x.length / total) * width)
    for (let t = 0; t * total < x.length; t++) {
      const start = t * total + column
      part.set(x.subarray(start, start + width), t * width)
    }
    column += width
    return part
  })
}

export function logSumExp(x: Floats): number {
  let max = -Infinity
  for (const value of x) max = Math.max(max, value)
  let sum = 0
  for (const value of x) sum += Math.exp(value - max)
  return max + Math.log(sum)
}

/** The index of the largest value; the first of them when several are equal. */
export function argmax(x: Floats): number {
  let best = 0
  for (let i = 1; i < x.length; i++) if (x[i]! > x[best]!) best = i
  return best
}

/** The rows of a matrix, without copying it. */
export function rowsOf<T extends Floats>(matrix: T, columns: number): T[] {
  return Array.from(
    { length: matrix.length / columns },
    (_, row) => matrix.subarray(row * columns, (row + 1) * columns) as T,
  )
}

function dot(a: Floats, aStart: number, b: Floats, bStart: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += a[aStart + i]! * b[bStart + i]!
  return sum
}

function add(x: Float64Array, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i]! += y[i]!
}

function weightOf(weights: Weights, name: string): Float64Array {
  const weight = weights.get(`${name}.weight`)
  if (weight === undefined) throw new Error(`the reference has no weight ${name}`)
  // One array type keeps the inner loops fast.
  return weight instanceof Float64Array ? weight : new Float64Array(weight)
}

/** Layer-wise scaling: attention and FFN grow from the first layer to the last. */
export function layerShapes(config: ConfigJson): LayerShape[] {
  const { model_dim: modelDim, head_dim: headDim, num_transformer_layers: numLayers } = config
  const { num_gqa_groups: numGqaGroups, ffn_dim_divisor: ffnDimDivisor } = config
  const qkvMultipliers = multiplierPerLayer(config.qkv_multipliers, numLayers)
  const ffnMultipliers = multiplierPerLayer(config.ffn_multipliers, numLayers)
  return qkvMultipliers.map((qkvMultiplier, layer) => {
    const qDim = makeDivisible(modelDim * qkvMultiplier, headDim * numGqaGroups)
    const numQueryHeads = qDim / headDim
    return {
      headDim,
      numQueryHeads,
      numKvHeads: numQueryHeads / numGqaGroups,
      ffnDim: makeDivisible(modelDim * ffnMultipliers[layer]!, ffnDimDivisor),
    }
  })
}

/** A number serves every layer, two are the first and the last layer's, more are one a layer. */
export function multiplierPerLayer(multipliers: number | number[], numLayers: number): number[] {
  if (typeof multipliers === 'number') return Array(numLayers).fill(multipliers)
  if (multipliers.length !== 2) return multipliers
  const [first, last] = multipliers as [number, number]
  const step = numLayers > 1 ? (last - first) / (numLayers - 1) : 0
  return Array.from({ length: numLayers }, (_, layer) =>
    roundToHundredth(layer > 0 && layer === numLayers - 1 ? last : first + layer * step),
  )
}

/** The multiple of the divisor nearest to the value, unless that loses more than a tenth of it. */
export function makeDivisible(value: number, divisor: number): number {
  const nearest = Math.max(divisor, Math.floor((value + divisor / 2) / divisor) * divisor)
  return nearest < 0.9 * value ? nearest + divisor : nearest
}

/** Ties go to the even digit, as in NumPy: 0.625, second of five from 0.5 to 1, becomes 0.62. */
function roundToHundredth(value: number): number {
  const scaled = value * 100
  const floor = Math.floor(scaled)
  const isTie = scaled - floor === 0.5
  return (isTie ? floor + (floor % 2) : Math.round(scaled)) / 100
}

/** Every tensor of the checkpoint and its shape, in the order the forward pass meets them. */
export function tensorShapes(config: ConfigJson): Map<string, number[]> {
  const { vocab_size: vocabSize, model_dim: modelDim, head_dim: headDim } = config
  const shapes = new Map<string, number[]>()
  const set = (name: string, ...shape: number[]) => shapes.set(`${name}.weight`, shape)

  set('transformer.token_embeddings', vocabSize, modelDim)
  for (const [layer, shape] of layerShapes(config).entries()) {
    const { numQueryHeads, numKvHeads, ffnDim } = shape
    const prefix = `transformer.layers.${layer}`
    set(`${prefix}.attn_norm`, modelDim)
    set(`${prefix}.attn.qkv_proj`, (numQueryHeads + 2 * numKvHeads) * headDim, modelDim)
    if (config.normalize_qk_projections) {
      set(`${prefix}.attn.q_norm`, headDim)
      set(`${prefix}.attn.k_norm`, headDim)
    }
    set(`${prefix}.attn.out_proj`, modelDim, numQueryHeads * headDim)
    set(`${prefix}.ffn_norm`, modelDim)
    set(`${prefix}.ffn.proj_1`, config.ffn_with_glu ? 2 * ffnDim : ffnDim, modelDim)
    set(`${prefix}.ffn.proj_2`, modelDim, ffnDim)
  }
  set('transformer.norm', modelDim)
  if (!config.share_input_output_layers) set('lm_head', vocabSize, modelDim)
  return shapes
}
