import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { testConfigs } from '../helpers/configs.js'
import { goldenWeights } from '../helpers/golden-weights.js'
import { encodeFloats, type RawTensor, writeSafetensors } from '../helpers/safetensors.js'
import { tensorShapes } from '../reference.js'

/** The model and the adapters that golden values are of: rank 4, alpha 8, so that the scale is 2. */
const rank = 4
export const scale = 2
const shapes = tensorShapes(testConfigs.golden)
const linears = [...shapes.keys()].filter(name => /proj/.test(name))
const embeddings = 'transformer.token_embeddings.weight'

export interface Kind {
  embedding?: boolean
  dora?: boolean
}

/** The first logits after the first and the last token, computed in float64 with PyTorch. */
export const goldenLogits = {
  lora: [
    [-0.02549525087362723, 0.06281501794115839, -0.21318689721325645],
    [0.022625550892721988, -0.09730290625784901, -0.014816826714668961],
  ],
  dora: [
    [-0.025316806064468098, 0.058139412839462695, -0.2112862105600978],
    [0.016098054760386636, -0.10492091568263885, -0.018264669665189606],
  ],
  'lora of the embedding': [
    [-0.024016096409844256, 0.06387682381239018, -0.21549885035371025],
    [0.02209053245527924, -0.09770868350919654, -0.015103887226371585],
  ],
  'dora beside lora of the embedding': [
    [-0.023680442278184756, 0.05947078754602643, -0.21328184045538803],
    [0.0156554006682912, -0.1052614190386928, -0.018499020595145365],
  ],
  'lora of the embedding and the head': [
    [-0.00918815990079167, 0.04887343433197385, -0.2424721723085196],
    [0.030166907125710116, -0.05890730682496527, 0.01717302834817523],
  ],
}
/** Those of them that PEFT and CoreNet can express. */
export const goldenCases = [
  ['lora', {}],
  ['dora', { dora: true }],
  ['lora of the embedding', { embedding: true }],
  ['dora beside lora of the embedding', { embedding: true, dora: true }],
] as const

interface Target {
  /** As PEFT has them, for the embedding, too. */
  a: { values: Float64Array; shape: [number, number] }
  b: { values: Float64Array; shape: [number, number] }
  magnitudes?: Float64Array
}

/** The targets by module, from the rule of the golden values. */
export function goldenAdapter({ embedding = false, dora = false }: Kind): Map<string, Target> {
  const weights = goldenWeights()
  const targets = new Map<string, Target>()
  for (const [k, name] of [embeddings, ...linears].entries()) {
    if (k === 0 && !embedding) continue
    const [rows, columns] = shapes.get(name) as [number, number]
    const [inputs, outputs] = k === 0 ? [rows, columns] : [columns, rows]
    const target: Target = {
      a: { values: wave(rank * inputs, 2 * k), shape: [rank, inputs] },
      b: { values: wave(outputs * rank, 2 * k + 1), shape: [outputs, rank] },
    }
    if (dora && k > 0) {
      const matrix = weights.get(name)!
      target.magnitudes = Float64Array.from({ length: rows }, (_, row) => {
        const values = matrix.subarray(row * columns, (row + 1) * columns)
        return Math.hypot(...values) * (1 + 0.05 * Math.sin(0.37 * row + 0.9 * (k - 1)))
      })
    }
    targets.set(name.replace(/\.weight$/, ''), target)
  }
  return targets
}

function wave(size: number, u: number): Float64Array {
  return new Float64Array(size).map((_, i) => {
    return 0.05 * (Math.sin(0.9173 * i + 2.1 * u) + Math.sin(0.0291 * i * (1 + 0.02 * u)))
  })
}

export function writeGoldenModel(dir: string): void {
  const tensors = [...goldenWeights()].map(([name, values]) =>
    tensor(name, values, shapes.get(name)!),
  )
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'config.json'), JSON.stringify(testConfigs.golden))
  writeSafetensors(join(dir, 'model.safetensors'), new Map(tensors))
}

/** Writes the adapter as PEFT does. Returns its config, for a test to write another. */
export function writePeft(dir: string, kind: Kind, rename = (name: string) => name): object {
  const tensors = [...goldenAdapter(kind)].flatMap(([module, { a, b, magnitudes }]) => {
    const name = `base_model.model.${module}`
    if (module.endsWith('token_embeddings')) {
      return [matrix(`${name}.lora_embedding_A`, a), matrix(`${name}.lora_embedding_B`, b)]
    }
    return [
      matrix(`${name}.lora_A.weight`, a),
      matrix(`${name}.lora_B.weight`, b),
      ...(magnitudes
        ? [tensor(`${name}.lora_magnitude_vector`, magnitudes, [magnitudes.length])]
        : []),
    ]
  })
  const renamed = tensors.map(([name, value]) => [rename(name), value] as const)
  mkdirSync(dir, { recursive: true })
  writeSafetensors(join(dir, 'adapter_model.safetensors'), new Map(renamed))
  const config = {
    peft_type: 'LORA',
    r: rank,
    lora_alpha: scale * rank,
    use_dora: kind.dora ?? false,
  }
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config))
  return config
}

/** Writes the adapter as CoreNet does, with `scale` in B, for its scale is 1. */
export function writeCoreNet(file: string, kind: Kind): void {
  const tensors = [...goldenAdapter(kind)].flatMap(([module, { a, b, magnitudes }]) => {
    const name = module.replace('transformer.', '')
    const scaled = { ...b, values: b.values.map(value => scale * value) }
    if (module.endsWith('token_embeddings')) {
      const padded = padColumns(a, a.shape[1] + 31)
      return [
        matrix(`${name}.lora_embedding_A.lora`, padded),
        matrix(`${name}.lora_embedding_B.lora`, scaled),
      ]
    }
    return [
      matrix(`${name}.lora_A.lora.weight`, a),
      matrix(`${name}.lora_B.lora.weight`, scaled),
      ...(magnitudes
        ? [tensor(`${name}.lora_magnitude_vector.lora`, magnitudes, [magnitudes.length])]
        : []),
    ]
  })
  writeSafetensors(file, new Map(tensors))
}

/** Writes the adapter as mlx-lm does: everything the other way around. */
export function writeMlx(dir: string, kind: Kind): void {
  const tensors = [...goldenAdapter(kind)].flatMap(([module, { a, b, magnitudes }]) => [
    matrix(`${module}.lora_a`, transposed(a)),
    matrix(`${module}.lora_b`, transposed(b)),
    ...(magnitudes ? [tensor(`${module}.m`, magnitudes, [magnitudes.length])] : []),
  ])
  mkdirSync(dir, { recursive: true })
  writeSafetensors(join(dir, 'adapters.safetensors'), new Map(tensors))
  const type = kind.dora ? 'dora' : 'lora'
  const config = { fine_tune_type: type, lora_parameters: { rank, scale, dropout: 0 } }
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config))
}

type Matrix = Target['a']

function transposed({ values, shape: [rows, columns] }: Matrix): Matrix {
  return {
    values: values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!),
    shape: [columns, rows],
  }
}

function padColumns({ values, shape: [rows, columns] }: Matrix, width: number): Matrix {
  const padded = new Float64Array(rows * width).fill(9)
  for (let row = 0; row < rows; row++) {
    padded.set(values.subarray(row * columns, (row + 1) * columns), row * width)
  }
  return { values: padded, shape: [rows, width] }
}

function matrix(name: string, { values, shape }: Matrix): [string, RawTensor] {
  return tensor(name, values, shape)
}

function tensor(name: string, values: Float64Array, shape: readonly number[]): [string, RawTensor] {
  return [name, { dtype: 'F32', shape: [...shape], bytes: encodeFloats(values, 'F32') }]
}
