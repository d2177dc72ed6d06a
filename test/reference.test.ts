import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import t, { type Test } from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { dequantizeCheckpoint, testConfigs } from './helpers/checkpoints.js'
import { goldenTokens, goldenWeights } from './helpers/golden-weights.js'
import {
  argmax,
  attention,
  type ConfigJson,
  type Floats,
  layerShapes,
  logSumExp,
  makeDivisible,
  multiplierPerLayer,
  referenceLogits,
  rmsNorm,
  rope,
  rowsOf,
  tensorShapes,
} from './reference.js'

const golden = testConfigs.golden

t.test(
  'layer-wise scaling gives the head counts and FFN widths of the released models',
  async t => {
    const released = { ...golden, vocab_size: 32000, num_gqa_groups: 4, ffn_dim_divisor: 256 }
    const [small, medium, large, huge] = [
      { ...released, num_transformer_layers: 16, model_dim: 1280, head_dim: 64 },
      { ...released, num_transformer_layers: 20, model_dim: 1536, head_dim: 64 },
      { ...released, num_transformer_layers: 28, model_dim: 2048, head_dim: 64 },
      { ...released, num_transformer_layers: 36, model_dim: 3072, head_dim: 128 },
    ] as const

    t.same(
      [small, medium, large, huge].map(parameterCount),
      [271_527_168, 457_179_136, 1_079_891_456, 3_036_647_424],
    )
    t.same(
      layerShapes(small).map(layer => layer.numKvHeads),
      runs([3, 5], [4, 7], [5, 4]),
    )
    t.same(
      layerShapes(medium).map(layer => layer.numKvHeads),
      runs([3, 3], [4, 7], [5, 6], [6, 4]),
    )
    t.same(
      layerShapes(large).map(layer => layer.numKvHeads),
      runs([4, 3], [5, 7], [6, 8], [7, 6], [8, 4]),
    )
    t.same(
      layerShapes(huge).map(layer => layer.numKvHeads),
      runs([3, 4], [4, 14], [5, 12], [6, 6]),
    )
    for (const config of [small, medium, large, huge]) {
      t.ok(layerShapes(config).every(layer => layer.numQueryHeads === 4 * layer.numKvHeads))
    }
    t.same(
      layerShapes(small).map(layer => layer.ffnDim),
      [
        768, 1024, 1280, 1536, 1792, 2048, 2560, 2816, 3072, 3328, 3584, 3840, 4352, 4608, 4864,
        5120,
      ],
    )
    t.same(
      layerShapes(large)
        .map(layer => layer.ffnDim)
        .slice(12, 16),
      [4096, 4608, 4608, 5120],
    )
  },
)

t.test('the reduced models have the head counts of the released ones', async t => {
  for (const [name, model_dim, head_dim] of [
    ['270M', 1280, 64],
    ['450M', 1536, 64],
    ['1_1B', 2048, 64],
    ['3B', 3072, 128],
  ] as const) {
    const reduced = testConfigs[name]
    const shrink = model_dim / reduced.model_dim
    t.equal(reduced.head_dim * shrink, head_dim)
    t.same(
      layerShapes(reduced).map(layer => ({
        ...layer,
        headDim: layer.headDim * shrink,
        ffnDim: layer.ffnDim * shrink,
      })),
      layerShapes({ ...reduced, model_dim, head_dim, ffn_dim_divisor: 256 }),
    )
  }
  const { num_query_heads, num_kv_heads, ...shorter } = testConfigs['270M']
  t.same(
    layerShapes(shorter).map(layer => layer.numQueryHeads),
    num_query_heads,
  )
  t.same(
    layerShapes(shorter).map(layer => layer.numKvHeads),
    num_kv_heads,
  )
})

t.test('multipliers are one for all, a range, or one for each layer', async t => {
  t.same(multiplierPerLayer(0.777, 3), [0.777, 0.777, 0.777])
  t.same(multiplierPerLayer([0.5, 4], 4), [0.5, 1.67, 2.83, 4])
  t.same(multiplierPerLayer([0.5, 1], 5), [0.5, 0.62, 0.75, 0.88, 1])
  t.same(multiplierPerLayer([0.5, 1], 1), [0.5])
  t.same(multiplierPerLayer([0.5, 0.777, 3], 3), [0.5, 0.777, 3])
})

t.test('a width becomes divisible by rounding, but never loses a tenth', async t => {
  for (const [value, divisor, expected] of [
    [640, 256, 768],
    [934.4, 256, 1024],
    [4485.12, 256, 4608],
    [4730.88, 256, 4608],
    [857.6, 256, 1024],
    [1751.04, 512, 2048],
    [1720.32, 512, 2048],
    [100, 256, 256],
  ] as const) {
    t.equal(makeDivisible(value, divisor), expected)
  }
})

t.test('rmsNorm scales each row to unit mean square, then by the weight', async t => {
  const eighths = Float64Array.from({ length: 8 }, (_, i) => (i + 1) / 8)
  const ones = new Float64Array(8).fill(1)
  const expected = [
    0.19802926, 0.39605852, 0.59408778, 0.79211704, 0.9901463, 1.18817556, 1.38620482, 1.58423408,
  ]
  near(t, rmsNorm(eighths, ones), expected)
  near(t, rmsNorm(new Float64Array([...eighths, ...eighths]), ones), [...expected, ...expected])
  const threes = new Float64Array(8).fill(3)
  near(
    t,
    rmsNorm(eighths, threes),
    [...rmsNorm(eighths, ones)].map(x => 3 * x),
  )
})

t.test('rope turns every head by the position of its token', async t => {
  const eighths = Float64Array.from({ length: 8 }, (_, i) => (i + 1) / 8)
  const expected = [
    -0.21194907, 0.01719397, 0.3485852, 0.49699775, -0.60110531, 0.79038242, 0.88585459, 1.0014955,
  ]
  near(t, rope(eighths, [3], 8, 10000), expected)
  t.same(rope(eighths, [0], 8, 10000), eighths)
  const twoTokensOfTwoHeads = new Float64Array([...eighths, ...eighths, ...eighths, ...eighths])
  near(t, rope(twoTokensOfTwoHeads, [0, 3], 8, 10000), [
    ...[...eighths, ...eighths],
    ...[...expected, ...expected],
  ])
})

t.test('attention sees no further than its own position and shares KV heads in order', async t => {
  const shape = { numQueryHeads: 4, numKvHeads: 2, headDim: 2 }
  const q = new Float64Array(2 * 8)
  const k = new Float64Array(3 * 4)
  const v = Float64Array.of(1, 2, 3, 4, 10, 20, 30, 40, 100, 200, 300, 400)
  near(t, attention(q, k, v, [0, 1], shape), [
    ...[1, 2, 1, 2, 3, 4, 3, 4],
    ...[5.5, 11, 5.5, 11, 16.5, 22, 16.5, 22],
  ])

  q.fill(3)
  k[4] = 2
  const probability = 1 / (1 + Math.exp((-3 * 2) / Math.SQRT2))
  near(t, attention(q, k, v, [0, 1], shape).subarray(8, 9), [1 + 9 * probability])
})

t.test('the whole model gives the golden logits', async t => {
  t.same(
    layerShapes(golden).map(layer => [layer.numQueryHeads, layer.numKvHeads, layer.ffnDim]),
    [
      [2, 1, 64],
      [4, 2, 288],
      [4, 2, 512],
    ],
  )
  t.equal(parameterCount(golden), 468_160)

  const weights = goldenWeights()
  near(
    t,
    [
      weights.get('transformer.layers.1.attn.qkv_proj.weight')![0]!,
      weights.get('transformer.layers.2.ffn.proj_1.weight')![0]!,
      weights.get('transformer.norm.weight')![0]!,
    ],
    [0.025210022209598455, -0.5990970183982887, 1.0883870423545832],
    1e-15,
  )

  const logits = referenceLogits(golden, weights, goldenTokens)
  const rows = rowsOf(logits, 97)
  near(
    t,
    rows[0]!.subarray(0, 6),
    [-0.03339845, 0.05086941, -0.19858951, -0.08054316, 0.04680477, -0.09638895],
  )
  near(
    t,
    rows[6]!.subarray(0, 6),
    [0.02446434, -0.10649169, -0.01153257, 0.13071618, -0.01422452, 0.08115365],
  )
  t.same(rows.map(argmax), [35, 61, 70, 79, 72, 72, 51])
  near(t, [logSumExp(rows[6]!)], [4.577845757])
  near(t, [logits.reduce((sum, x) => sum + Math.abs(x), 0) / logits.length], [0.0841934358])
})

t.test('every wrong choice moves the golden logits by a known amount', async t => {
  const expected = referenceLogits(golden, goldenWeights(), goldenTokens)
  const shift = (change: Change) => {
    const weights = goldenWeights()
    const config = { ...golden, ...change.config }
    for (const [layer, shape] of layerShapes(golden).entries()) {
      change.layer?.(name => weights.get(`transformer.layers.${layer}.${name}.weight`)!, shape)
    }
    return referenceLogits(config, weights, goldenTokens).reduce(
      (max, logit, i) => Math.max(max, Math.abs(logit - expected[i]!)),
      0,
    )
  }
  const rounded = (value: number) => value.toExponential(1)

  t.equal(rounded(shift({ config: { rms_norm_eps: 1e-5 } })), '3.1e-4')
  t.equal(rounded(shift({ config: { normalize_qk_projections: false } })), '3.1e-2')
  const gateAndUpSwapped = shift({
    layer: (weight, { ffnDim }) => swapRows(weight('ffn.proj_1'), 128, 0, ffnDim, ffnDim),
  })
  t.equal(rounded(gateAndUpSwapped), '6.0e-3')
  const keysAndValuesSwapped = shift({
    layer(weight, { numQueryHeads, numKvHeads, headDim }) {
      const kvDim = numKvHeads * headDim
      const keys = numQueryHeads * headDim
      swapRows(weight('attn.qkv_proj'), 128, keys, keys + kvDim, kvDim)
    },
  })
  t.equal(rounded(keysAndValuesSwapped), '3.0e-1')
  const withoutAttentionScale = shift({
    layer(weight, { headDim }) {
      const norm = weight('attn.q_norm')
      norm.set(norm.map(x => x * Math.sqrt(headDim)))
    },
  })
  t.equal(rounded(withoutAttentionScale), '2.0e-2')
})

t.test('the bundled model continues a text as the oracle does', async t => {
  const directory = bundledModel('openelm-nano')!
  const read = (file: string) => JSON.parse(readFileSync(join(directory, file), 'utf8'))
  const config: ConfigJson = read('config.json')
  const weights = dequantizeCheckpoint(join(directory, 'model.safetensors'))
  const tokenizer = new Tokenizer(read('tokenizer.json'), {})

  const prompt = 'It was a fine evening, and'
  const bos = 1
  const tokens = (text: string) => [bos, ...tokenizer.encode(text).ids]
  const ids = tokens(`${prompt} a little girl named Lily. She loved to play with her toys`)
  const promptLength = tokens(prompt).length

  // A token depends on those before it alone, so one pass over the whole text checks each choice.
  const choices = rowsOf(referenceLogits(config, weights, ids), config.vocab_size).map(argmax)
  t.same(choices.slice(promptLength - 1, -1), ids.slice(promptLength))
})

interface Change {
  config?: Partial<ConfigJson>
  layer?: (
    weight: (name: string) => Float64Array,
    shape: ReturnType<typeof layerShapes>[number],
  ) => void
}

function swapRows(matrix: Float64Array, columns: number, a: number, b: number, count: number) {
  const rows = rowsOf(matrix, columns)
  for (let i = 0; i < count; i++) {
    const row = rows[a + i]!.slice()
    rows[a + i]!.set(rows[b + i]!)
    rows[b + i]!.set(row)
  }
}

function near(t: Test, actual: Floats | number[], expected: number[], tolerance = 1e-7) {
  t.equal(actual.length, expected.length)
  for (const [i, value] of expected.entries()) {
    const difference = Math.abs(actual[i]! - value)
    t.ok(difference <= tolerance, `${actual[i]} is ${value}`)
  }
}

function runs(...runs: [value: number, length: number][]): number[] {
  return runs.flatMap(([value, length]) => Array(length).fill(value))
}

function size(shape: number[]): number {
  return shape.reduce((product, length) => product * length, 1)
}

function parameterCount(config: ConfigJson): number {
  return [...tensorShapes(config).values()].reduce((sum, shape) => sum + size(shape), 0)
}
