import { OpenELMError } from '../errors.js'
import { loadNative, type NativeTensor } from '../native.js'
import type {
  NativeAdamWOptions,
  NativeGradientOptions,
  NativeLosses,
  NativeTrainer,
  NativeTrainerArray,
  NativeTrainerOptions,
  NativeTrainingBatch,
} from '../native-trainer.js'
import type { Cluster } from './cluster.js'
import { threadsOf } from './rank-facts.js'
import type { Lane, Trainer } from './trainer.js'

/** The most bytes of a message. */
const pieceBytes = 2 ** 26

/**
 * A trainer of several ranks, on rank 0. Each has the weights and the gradients of its leaves; the
 * moments of AdamW are spread over them.
 */
export class ClusterTrainer implements Trainer {
  readonly lanes: readonly Lane[]
  readonly #cluster: Cluster
  readonly #native: NativeTrainer
  #sharesWeights = true
  #sharesFrozen = false

  private constructor(cluster: Cluster, native: NativeTrainer) {
    this.#cluster = cluster
    this.#native = native
    this.lanes = [native, ...cluster.others().map(rank => new RemoteLane(cluster, rank))]
  }

  /**
   * Makes a trainer on every rank.
   *
   * @param memory bytes that each needs.
   * @throws OpenELMError OUT_OF_MEMORY before anything is allocated, where it cannot fit.
   */
  static async create(
    cluster: Cluster,
    options: Omit<NativeTrainerOptions, 'threads'>,
    memory: number,
  ): Promise<ClusterTrainer> {
    const { ranks } = cluster
    for (const { rank, host, memory: there } of ranks) {
      const needed = memory * ranks.filter(other => other.host === host).length
      if (needed <= there) continue
      const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
      const what = `the ranks there need ${gigabytes(needed)} of memory, of ${gigabytes(there)}`
      throw new OpenELMError('OUT_OF_MEMORY', `rank ${rank} on ${host}: ${what}`)
    }
    const [own, ...threads] = threadsOf(ranks) as [number, ...number[]]
    await Promise.all(
      cluster.others().map((rank, i) => {
        return cluster.call(rank, 'create', { ...options, threads: threads[i]! })
      }),
    )
    const native = new (loadNative().Trainer)({ ...options, threads: own })
    return new ClusterTrainer(cluster, native)
  }

  async read(array: NativeTrainerArray, begin: number, to: Uint8Array): Promise<void> {
    for (const { rank, first, part } of this.#pieces(array, begin, to)) {
      if (rank === 0) this.#native.read(array, first, part)
      else part.set((await this.#call(rank, 'read', array, first, part.length)) as Uint8Array)
    }
  }

  async write(array: NativeTrainerArray, begin: number, from: Uint8Array): Promise<void> {
    for (const { rank, first, part } of this.#pieces(array, begin, from)) {
      if (rank === 0) this.#native.write(array, first, part)
      else await this.#call(rank, 'write', array, first, part)
    }
    this.#sharesWeights ||= array === 'weights'
    this.#sharesFrozen ||= array === 'frozen'
  }

  async share(): Promise<void> {
    if (!this.#sharesWeights && !this.#sharesFrozen) return
    const withFrozen = this.#sharesFrozen
    this.#sharesWeights = this.#sharesFrozen = false
    await this.#onAll('share', withFrozen)
  }

  async load(tensors: readonly NativeTensor[]): Promise<void> {
    await this.#native.load(tensors)
    this.#sharesWeights = this.#sharesFrozen = true
  }

  async resetMagnitudes(): Promise<void> {
    await this.#native.resetMagnitudes()
    this.#sharesWeights = true
  }

  async step(options: NativeAdamWOptions): Promise<number> {
    const { learningRate, beta1, beta2, eps, weightDecay, maxGradNorm, step } = options
    const own = { learningRate, beta1, beta2, eps, weightDecay, maxGradNorm, step }
    return (await this.#onAll('stepTogether', own)) as number
  }

  cancel(): void {
    this.#native.cancel()
    this.#cluster.cancel()
  }

  dispose(): Promise<void> {
    return this.#native.dispose()
  }

  /** What all ranks must do together. Resolves to what it is on this one. */
  async #onAll<Name extends 'share' | 'stepTogether'>(
    name: Name,
    ...args: Parameters<NativeTrainer[Name]>
  ): Promise<unknown> {
    const call = this.#native[name] as (...args: unknown[]) => Promise<unknown>
    const others = this.#cluster.others().map(rank => this.#call(rank, name, ...args))
    const [result] = await Promise.all([call.call(this.#native, ...args), ...others])
    return result
  }

  #call(rank: number, name: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#cluster.call(rank, name, ...args)
  }

  /** Who has which part of some elements. Everyone has all weights: those of rank 0 count. */
  *#pieces(array: NativeTrainerArray, begin: number, bytes: Uint8Array) {
    const isSpread = array === 'firstMoments' || array === 'secondMoments'
    const end = begin + bytes.length / 4
    for (let rank = 0; rank < (isSpread ? this.#cluster.size : 1); rank++) {
      const shard = isSpread ? this.#native.shard(rank, this.#cluster.size) : [begin, end]
      const last = Math.min(end, shard[1]!)
      const most = rank === 0 ? Number.POSITIVE_INFINITY : pieceBytes / 4
      for (let first = Math.max(begin, shard[0]!); first < last; first += most) {
        const after = Math.min(first + most, last)
        yield { rank, first, part: bytes.subarray(4 * (first - begin), 4 * (after - begin)) }
      }
    }
  }
}

class RemoteLane implements Lane {
  readonly #cluster: Cluster
  readonly #rank: number

  constructor(cluster: Cluster, rank: number) {
    this.#cluster = cluster
    this.#rank = rank
  }

  accumulate(batch: NativeTrainingBatch, options: NativeGradientOptions): Promise<NativeLosses> {
    return this.#call('accumulate', plain(batch), options) as Promise<NativeLosses>
  }

  evaluate(batch: NativeTrainingBatch, withAdapter: boolean): Promise<NativeLosses> {
    return this.#call('evaluate', plain(batch), withAdapter) as Promise<NativeLosses>
  }

  backward(options: NativeGradientOptions): Promise<void> {
    return this.#call('backward', options) as Promise<void>
  }

  nextLeaf(): Promise<void> {
    return this.#call('nextLeaf') as Promise<void>
  }

  #call(name: string, ...args: readonly unknown[]): Promise<unknown> {
    return this.#cluster.call(this.#rank, name, ...args)
  }
}

/** Without what a caller keeps beside it. */
function plain({ tokens, targets, lengths }: NativeTrainingBatch): NativeTrainingBatch {
  return { tokens, targets, lengths }
}
