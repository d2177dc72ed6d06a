import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type ConfigJson, type Floats, tensorShapes } from '../reference.js'
import {
  decodeFloats,
  encodeFloats,
  type FloatDType,
  type RawTensor,
  readSafetensors,
  writeSafetensors,
} from './safetensors.js'

export { testConfigs } from './configs.js'

export interface CheckpointOptions {
  dtype: FloatDType
  seed: number
  /** Files to spread the tensors over, with an index; one plain file by default. */
  shards?: number
  /** The names of Apple's CoreNet, which are Hugging Face's without `transformer.`. */
  coreNetNames?: boolean
}

/**
 * Writes config.json and random weights of a realistic scale. Returns exactly the weights that the
 * files hold, under their Hugging Face names.
 */
export function writeTestCheckpoint(
  dir: string,
  config: ConfigJson,
  { dtype, seed, shards = 1, coreNetNames = false }: CheckpointOptions,
): { weights: Map<string, Float64Array> } {
  const weights = new Map<string, Float64Array>()
  const tensors: [string, RawTensor][] = []
  const normal = normalDistribution(seed)
  for (const [name, shape] of tensorShapes(config)) {
    const bytes = encodeFloats(randomWeight(name, shape, normal), dtype)
    weights.set(name, decodeFloats(bytes, dtype))
    tensors.push([coreNetNames ? coreNetName(name) : name, { dtype, shape, bytes }])
  }

  mkdirSync(dir, { recursive: true })
  writeJson(join(dir, 'config.json'), { ...config, torch_dtype: torchDTypes[dtype] })
  writeShards(dir, tensors, shards)
  return { weights }
}

const torchDTypes = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }

/** The weights of one safetensors file in float64, quantised ones included, by their Hugging Face names. */
export function dequantizeCheckpoint(
  file: string,
  config: ConfigJson = JSON.parse(readFileSync(join(dirname(file), 'config.json'), 'utf8')),
): Map<string, Float64Array> {
  const tensors = readSafetensors(file)
  const shapes = tensorShapes(config)
  const weights = new Map<string, Float64Array>()
  for (const [storedName, { dtype, bytes }] of tensors) {
    if (storedName.endsWith('.weight_scale')) continue
    const name = huggingFaceName(storedName)
    if (dtype !== 'I8' && dtype !== 'U8') {
      weights.set(name, decodeFloats(bytes, dtype))
      continue
    }
    const scale = tensors.get(`${storedName}_scale`)!
    const scales = decodeFloats(scale.bytes, scale.dtype)
    const [rows, columns] = shapes.get(name) as [number, number]
    const values = dtype === 'I8' ? new Float64Array(new Int8Array(bytes)) : unpackNibbles(bytes)
    weights.set(name, scaleGroups(values, scales, rows, columns))
  }
  return weights
}

/** How far one matrix is from another: the norm of the difference over the norm of what was expected. */
export function relativeError(actual: Floats, expected: Floats): number {
  if (actual.length !== expected.length) {
    throw new RangeError(`expected ${expected.length} values, received ${actual.length}`)
  }
  let difference = 0
  let norm = 0
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2
    norm += expected[i]! ** 2
  }
  return Math.sqrt(difference / norm)
}

function randomWeight(name: string, shape: number[], normal: () => number): Float64Array {
  const [rows, columns] = shape as [number, number?]
  if (columns === undefined) return new Float64Array(rows).map(() => 1 + 0.1 * normal())

  // Scores this wide apart have a clear winner, as those of a trained model do.
  const spread = name.includes('embeddings') || name.startsWith('lm_head') ? 3 : 1
  const deviation = spread / Math.sqrt(columns)
  const weight = new Float64Array(rows * columns)
  for (let i = 0; i < weight.length; i++) weight[i] = deviation * normal()
  return weight
}

/** Standard normal numbers, always the same ones for the same seed. */
function normalDistribution(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b9) || 1
  const uniform = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 8; i++) uniform()

  let spare: number | undefined
  return () => {
    if (spare !== undefined) {
      const value = spare
      spare = undefined
      return value
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()))
    const angle = 2 * Math.PI * uniform()
    spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }
}

function writeShards(dir: string, tensors: [string, RawTensor][], count: number): void {
  if (count === 1) {
    writeSafetensors(join(dir, 'model.safetensors'), new Map(tensors))
    return
  }
  const weightMap: Record<string, string> = {}
  const number = (i: number) => String(i).padStart(5, '0')
  for (let i = 0; i < count; i++) {
    const file = `model-${number(i + 1)}-of-${number(count)}.safetensors`
    const part = tensors.slice(
      Math.floor((i * tensors.length) / count),
      Math.floor(((i + 1) * tensors.length) / count),
    )
    for (const [name] of part) weightMap[name] = file
    writeSafetensors(join(dir, file), new Map(part))
  }
  const totalSize = tensors.reduce((sum, [, { bytes }]) => sum + bytes.length, 0)
  writeJson(join(dir, 'model.safetensors.index.json'), {
    metadata: { total_size: totalSize },
    weight_map: weightMap,
  })
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
}

function coreNetName(name: string): string {
  return name === 'lm_head.weight' ? 'classifier.weight' : name.replace(/^transformer\./, '')
}

function huggingFaceName(name: string): string {
  if (name === 'classifier.weight') return 'lm_head.weight'
  return /^(transformer|lm_head)\./.test(name) ? name : `transformer.${name}`
}

/** A group of 32 is 16 bytes: the low nibbles are its first half, the high nibbles its second. */
function unpackNibbles(bytes: Uint8Array): Float64Array {
  const values = new Float64Array(bytes.length * 2)
  for (let i = 0; i < bytes.length; i++) {
    const group = Math.floor(i / 16) * 32
    values[group + (i % 16)] = (bytes[i]! & 15) - 8
    values[group + (i % 16) + 16] = (bytes[i]! >> 4) - 8
  }
  return values
}

/** Drops the padding that fills up the last group of each row. */
function scaleGroups(values: Floats, scales: Floats, rows: number, columns: number): Float64Array {
  const groups = Math.ceil(columns / 32)
  const weight = new Float64Array(rows * columns)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const group = row * groups + Math.floor(column / 32)
      weight[row * columns + column] = values[group * 32 + (column % 32)]! * scales[group]!
    }
  }
  return weight
}
