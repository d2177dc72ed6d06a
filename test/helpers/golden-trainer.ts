import { parseConfig } from '../../lib/config.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import type {
  NativeAdapterTarget,
  NativeTrainer,
  NativeTrainerArray,
  NativeTrainerOptions,
} from '../../lib/native-trainer.js'
import { goldenAdapter, type Kind, scale } from '../adapters/golden-adapter.js'
import { testConfigs } from './configs.js'
import { goldenWeights } from './golden-weights.js'

/** Norm, sum, and dot product with a sine: what golden values pin a tensor by. */
export type Pin = readonly number[]

export interface GoldenTensor {
  name: string
  part?: 'a' | 'b' | 'm'
  values: Float64Array
  /** Of an embedding's adapter, which PEFT keeps the other way around. */
  columns?: number
}

/** A trainer of the golden model, whole or by a golden adapter, and what is trained by tensor. */
export class GoldenTrainer {
  readonly native: NativeTrainer
  readonly #float64: boolean
  readonly #trained: readonly GoldenTensor[]

  constructor(
    kind: Kind | 'full',
    { dropout = 0, ...options }: Partial<NativeTrainerOptions> & { dropout?: number } = {},
  ) {
    this.#float64 = options.float64 ?? true
    const tensors = kind === 'full' ? [] : [...adapterTensors(kind)]
    const targets = kind === 'full' ? [] : [...goldenAdapter(kind).keys()].map(nativeTarget)
    const dora = kind !== 'full' && (kind.dora ?? false)
    this.native = new (loadNative().Trainer)({
      config: nativeConfig(parseConfig(testConfigs.golden, 'golden')),
      ...(kind !== 'full' && { adapter: { dora, dropout, targets } }),
      threads: 1,
      maxTokens: 64,
      recompute: false,
      ...options,
      float64: this.#float64,
    })
    const weights = [...goldenWeights()].map(([name, values]) => ({ name, values }))
    this.#trained = kind === 'full' ? weights : tensors
    if (kind !== 'full' && !options.frozenDtype) this.write('frozen', joined(weights))
    this.write('weights', joined(this.#trained))
  }

  write(array: NativeTrainerArray, values: Float64Array): void {
    const typed = this.#float64 ? values : Float32Array.from(values)
    this.native.write(array, 0, new Uint8Array(typed.buffer))
  }

  read(array: NativeTrainerArray, size = joined(this.#trained).length): Float64Array {
    const values = this.#float64 ? new Float64Array(size) : new Float32Array(size)
    this.native.read(array, 0, new Uint8Array(values.buffer))
    return Float64Array.from(values)
  }

  /** Makes every B zero, as in an adapter that is new. */
  clearB(): void {
    const values = this.#trained.flatMap(({ part, values }) => [
      ...(part === 'b' ? values.map(() => 0) : values),
    ])
    this.write('weights', Float64Array.from(values))
  }

  /** The policy of the golden preferences: element i of tensor t times 1 + 0.01 sin(i + t). */
  moveWeights(): void {
    const moved = this.#trained.map(({ name, values }, tensor) => ({
      name,
      values: values.map((value, i) => value * (1 + 0.01 * Math.sin(i + tensor))),
    }))
    this.write('weights', joined(moved))
  }

  /** Each trained tensor's part of an array, as PEFT has it. */
  tensors(array: NativeTrainerArray): GoldenTensor[] {
    const all = this.read(array)
    let begin = 0
    return this.#trained.map(({ name, part, values, columns }) => {
      const own = all.subarray(begin, begin + values.length)
      begin += values.length
      return { name, ...(part && { part }), values: columns ? transposed(own, columns) : own }
    })
  }
}

/** In the order of native code: A and B of each target, then its magnitudes. */
function* adapterTensors(kind: Kind): Generator<GoldenTensor> {
  for (const [name, { a, b, magnitudes }] of goldenAdapter(kind)) {
    if (name.endsWith('token_embeddings')) {
      // W [vocabulary, width] is a matrix like the others here: its A is PEFT's B, transposed.
      yield { name, part: 'a', values: transposed(b.values, b.shape[1]), columns: b.shape[0] }
      yield { name, part: 'b', values: transposed(a.values, a.shape[1]), columns: a.shape[0] }
      continue
    }
    yield { name: `${name} A`, part: 'a', values: a.values }
    yield { name: `${name} B`, part: 'b', values: b.values }
    if (magnitudes) yield { name: `${name} m`, part: 'm', values: magnitudes }
  }
}

function nativeTarget(name: string): NativeAdapterTarget {
  const module = name.split('.').at(-1) as NativeAdapterTarget['module']
  const layer = Number(/layers\.(\d+)/.exec(name)?.[1] ?? -1)
  return { layer, module, rank: 4, scale }
}

/** Rows of so many columns become columns. */
function transposed(values: Float64Array, columns: number): Float64Array {
  const rows = values.length / columns
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!)
}

function joined(tensors: readonly GoldenTensor[]): Float64Array {
  return Float64Array.from(tensors.flatMap(({ values }) => [...values]))
}

/** The largest difference from a pin, in parts of the tensor's norm. */
export function pinError(values: Float64Array, [norm, sum, dot]: Pin): number {
  const squares = values.reduce((total, value) => total + value * value, 0)
  const total = values.reduce((total, value) => total + value, 0)
  const product = values.reduce((total, value, i) => total + value * Math.sin(0.31 * i + 0.7), 0)
  const differences = [Math.sqrt(squares) - norm!, total - sum!, product - dot!]
  return Math.max(...differences.map(Math.abs)) / norm!
}
