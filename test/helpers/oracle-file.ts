import { layerShapes, referenceLogits, tensorShapes } from '../reference.js'
import { testConfigs } from './configs.js'

/** Models that between them have each way a layer can be made. */
const names = ['270M', 'odd-widths', 'head-80', 'plain-ffn-untied'] as const
const tokens = [1, 5, 42, 96, 7, 7, 3, 60, 11]

/**
 * What the oracle makes of random models, for tests that have no Node (test/kernels/gpu/oracle_test.cc): of
 * each, its shape, the shapes of its layers, some tokens, and the logits after the last of them.
 */
export function oracleCases() {
  return names.map((name, index) => {
    const config = testConfigs[name]
    const random = randomValues(index + 1)
    const weights = new Map(
      [...tensorShapes(config)].map(([name, shape]) => [name, randomTensor(shape, random)]),
    )
    const { vocab_size: vocabSize } = config
    const logits = referenceLogits(config, weights, tokens).slice(-vocabSize)
    const layers = layerShapes(config)
    const flags = [
      config.ffn_with_glu,
      config.normalize_qk_projections,
      config.share_input_output_layers,
    ]
    const rows = [
      [layers.length, config.model_dim, config.head_dim, vocabSize, ...flags.map(Number)],
      ...layers.map(layer => [layer.numQueryHeads, layer.numKvHeads, layer.ffnDim]),
      [tokens.length, ...tokens],
    ]
    return { rows, logits }
  })
}

/** The file, and back. */
export function formatOracleCases(cases = oracleCases()): string {
  const texts = cases.map(({ rows, logits }) =>
    [...rows.map(row => row.join(' ')), Array.from(logits, x => x.toPrecision(10)).join(' ')]
      .map(line => `${line}\n`)
      .join(''),
  )
  return texts.join('\n')
}

/** random_value() of test/kernels/gpu/random_model.cc. */
function randomValues(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >> 8) * 2 ** -23
  }
}

/** add_matrix() and add_vector() of the same file, with every operation rounded to float32. */
function randomTensor([rows, columns]: number[], random: () => number): Float64Array {
  const { fround, sqrt } = Math
  if (columns === undefined) {
    return Float64Array.from({ length: rows! }, () => fround(1 + fround(fround(0.2) * random())))
  }
  const scale = fround(sqrt(fround(3 / columns)))
  return Float64Array.from({ length: rows! * columns }, () => fround(random() * scale))
}
