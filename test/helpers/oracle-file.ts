import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConfigJson, layerShapes, referenceLogits, tensorShapes } from '../reference.js'
import { testConfigs } from './configs.js'
import { encodeFloats, writeSafetensors } from './safetensors.js'

/** Models that between them have each way a layer can be made. */
const names = ['270M', 'odd-widths', 'head-80', 'plain-ffn-untied'] as const
const tokens = [1, 5, 42, 96, 7, 7, 3, 60, 11]

/**
 * What the oracle makes of random models, for tests that have no Node (test/kernels/models.cc): of each,
 * its shape, the shapes of its layers, some tokens, and the logits after the last of them.
 */
export function oracleCases() {
  return names.map(name => {
    const config = testConfigs[name]
    const weights = oracleWeights(config)
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

/** Writes the models as checkpoints in float32, and returns each with what the file says of it. */
export function writeOracleModels(directory: string) {
  const file = join(import.meta.dirname, '..', 'data', 'oracle-logits.txt')
  const texts = readFileSync(file, 'utf8').split('\n\n')
  return names.map((name, index) => {
    const config = testConfigs[name]
    const folder = join(directory, name)
    const tensors = [...oracleWeights(config)].map(([tensor, values]) => {
      const shape = tensorShapes(config).get(tensor)!
      return [tensor, { dtype: 'F32', shape, bytes: encodeFloats(values, 'F32') }] as const
    })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
    writeSafetensors(join(folder, 'model.safetensors'), new Map(tensors))
    const logits = texts[index]!.trim().split('\n').at(-1)!.split(' ').map(Number)
    return { name, tokens, logits }
  })
}

function oracleWeights(config: ConfigJson): Map<string, Float64Array> {
  return new Map(
    [...tensorShapes(config)].map(([name, shape], index) => [name, randomTensor(shape, index)]),
  )
}

const word = new BigUint64Array(1)
const halves = new Int32Array(word.buffer)

/**
 * random_float() of test/kernels/tensors.cc: uniform with mean 0 and standard deviation 1. The array
 * wraps around at 64 bits; BigInt.asUintN() crashes the compiler of Node 20 here.
 */
function randomFloat(seed: number, index: number): number {
  word[0] = BigInt(seed + 1) * 0x9e3779b97f4a7c15n + BigInt(index) * 0xd1b54a32d192ed03n
  for (let round = 0; round < 2; round++) {
    halves[0]! ^= halves[1]!
    word[0]! *= 0xd6e8feb86659fd93n
  }
  return Math.fround((halves[0]! ^ halves[1]!) * 3.4641016151377544 * 2 ** -32)
}

/** What make_tensors() of test/kernels/model.cc makes, with every operation rounded to float32. */
function randomTensor([rows, columns]: number[], seed: number): Float64Array {
  const { fround, sqrt } = Math
  const isVector = columns === undefined
  const mean = isVector ? 1 : 0
  const std = fround(isVector ? 0.2 : 1 / fround(sqrt(columns)))
  return Float64Array.from({ length: rows! * (columns ?? 1) }, (_, index) =>
    fround(mean + fround(std * randomFloat(seed, index))),
  )
}
