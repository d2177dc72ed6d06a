import type { Adapter, AdapterTarget } from '../adapters/adapter.js'
import type { Part } from '../adapters/tensor-names.js'
import { type OpenELMConfig, tensorSpecs } from '../config.js'
import { invalidArgument } from '../errors.js'
import type {
  NativeAdapterOptions,
  NativeAdapterTarget,
  NativeTrainerArray,
} from '../native-trainer.js'
import { fractionOf } from './random.js'
import type { Trainer } from './trainer.js'

export interface AdapterShape {
  readonly rank: number
  readonly alpha: number
  /** Whether the scale is alpha / sqrt(rank) rather than alpha / rank. */
  readonly rslora: boolean
  /** Groups of modules or their names. */
  readonly targets: readonly string[]
  /** How many layers, the last ones. */
  readonly layers: number
}

type Module = NativeAdapterTarget['module']

const groups: Readonly<Record<string, readonly Module[]>> = {
  all: ['qkv_proj', 'out_proj', 'proj_1', 'proj_2'],
  attention: ['qkv_proj', 'out_proj'],
  ffn: ['proj_1', 'proj_2'],
  embedding: ['token_embeddings'],
}

type AdapterTensors = Pick<Adapter, 'method' | 'targets' | 'adaptsHead'>

/** A part of an adapter in the arrays of a trainer. */
interface Tensor {
  readonly part: Part
  readonly begin: number
  readonly size: number
}

interface Target extends NativeAdapterTarget {
  /** The name of the matrix. */
  readonly name: string
  readonly out: number
  readonly in: number
  readonly tensors: readonly Tensor[]
}

/** Matrices of a model that get an adapter, in the order of its tensors, by name. */
export type AdapterPlan = ReadonlyMap<string, Pick<AdapterTarget, 'rank' | 'scale'>>

/**
 * A new adapter for some matrices of a model.
 *
 * @throws OpenELMError INVALID_ARGUMENT for a target that the model does not have.
 */
export function planAdapter(
  config: OpenELMConfig,
  { rank, alpha, rslora, targets, layers }: AdapterShape,
): AdapterPlan {
  const modules = new Set(targets.flatMap(target => groups[target] ?? [target as Module]))
  const unknown = [...modules].find(name => !Object.values(groups).flat().includes(name))
  if (unknown) {
    const expected = `all, attention, ffn, embedding or the names of modules`
    throw invalidArgument('options.targets', expected, unknown)
  }
  const scale = alpha / (rslora ? Math.sqrt(rank) : rank)
  const matrices = tensorSpecs(config).filter(({ name, kind }) => {
    const { layer, module } = placeOf(name)
    const isLow = layer >= 0 && layer < config.numLayers - layers
    return kind === 'matrix' && modules.has(module) && !isLow
  })
  return new Map(matrices.map(({ name }) => [name, { rank, scale }]))
}

/** Where a matrix is: layer -1 is that of the embedding. */
function placeOf(name: string): { layer: number; module: Module } {
  const match = /(?:layers\.(\d+)\.\w+\.)?(\w+)\.weight$/.exec(name)!
  return { layer: Number(match[1] ?? -1), module: match[2] as Module }
}

/** The layout of an adapter in a native trainer, and the adapter that such a trainer holds. */
export class TrainedAdapter {
  readonly #method: 'lora' | 'dora'
  readonly #dropout: number
  readonly #targets: readonly Target[]
  /** Numbers that are trained. */
  readonly size: number

  constructor(config: OpenELMConfig, method: 'lora' | 'dora', plan: AdapterPlan, dropout: number) {
    const shapes = new Map(tensorSpecs(config).map(({ name, shape }) => [name, shape]))
    let size = 0
    this.#targets = [...plan].map(([name, { rank, scale }]) => {
      const [rows, columns] = shapes.get(name) as [number, number]
      const { layer, module } = placeOf(name)
      const sizes: [Part, number][] = [
        ['a', rank * columns],
        ['b', rows * rank],
      ]
      if (method === 'dora' && layer >= 0) sizes.push(['magnitudes', rows])
      const tensors = sizes.map(([part, length]) => {
        size += length
        return { part, begin: size - length, size: length }
      })
      return { name, layer, module, rank, scale, out: rows, in: columns, tensors }
    })
    this.#method = method
    this.#dropout = dropout
    this.size = size
  }

  get native(): NativeAdapterOptions {
    const targets = this.#targets.map(({ layer, module, rank, scale }) => {
      return { layer, module, rank, scale }
    })
    return { dora: this.#method === 'dora', dropout: this.#dropout, targets }
  }

  /**
   * Begins as PEFT does: B is zero, A uniform within 1 / sqrt(in), and of an embedding normally
   * distributed; magnitudes are the norms of the rows, so that the model is still the base. Each
   * target has random numbers of its own.
   */
  async initialize(trainer: Trainer, seed: number): Promise<void> {
    for (const target of this.#targets) {
      const a = target.tensors.find(({ part }) => part === 'a')!
      const key = keyOf(target.name, seed)
      const draw = target.layer < 0 ? normal : uniform(target.in ** -0.5)
      const values = Float32Array.from({ length: a.size }, (_, i) => draw(i, key))
      await trainer.write('weights', a.begin, bytesOf(values))
    }
    await trainer.resetMagnitudes()
  }

  /** What an array of the trainer holds, as an adapter: its weights, or the moments of them. */
  async read(trainer: Trainer, array: NativeTrainerArray): Promise<AdapterTensors> {
    const targets = new Map<string, AdapterTarget>()
    for (const { name, rank, scale, tensors } of this.#targets) {
      const values: Partial<Record<Part, Float32Array>> = {}
      for (const { part, begin, size } of tensors) {
        values[part] = new Float32Array(size)
        await trainer.read(array, begin, bytesOf(values[part]))
      }
      const { a, b, magnitudes } = values
      targets.set(name, { rank, scale, a: a!, b: b!, magnitudes })
    }
    return { method: this.#method, targets, adaptsHead: false }
  }

  async write(trainer: Trainer, array: NativeTrainerArray, adapter: AdapterTensors): Promise<void> {
    for (const { name, tensors } of this.#targets) {
      const target = adapter.targets.get(name)!
      for (const { part, begin } of tensors) {
        await trainer.write(array, begin, bytesOf(target[part]!))
      }
    }
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** So that one target more does not change the numbers of the others. */
function keyOf(name: string, seed: number): number {
  return [...name].reduce((key, letter) => Math.imul(key ^ letter.charCodeAt(0), 0x01000193), seed)
}

function uniform(bound: number) {
  return (index: number, key: number) => bound * (2 * fractionOf(index, key) - 1)
}

/** By the method of Box and Muller (1958). */
function normal(index: number, key: number): number {
  const radius = Math.sqrt(-2 * Math.log(1 - fractionOf(2 * index, key)))
  return radius * Math.cos(2 * Math.PI * fractionOf(2 * index + 1, key))
}
