import { parseConfig, tensorSpecs } from '../../lib/config.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import type { NativeTrainer, NativeTrainerArray } from '../../lib/native-trainer.js'
import type { ConfigJson } from '../reference.js'

export interface NamedRange {
  readonly name: string
  readonly begin: number
  readonly end: number
  readonly isMatrix: boolean
}

export interface TestTrainerOptions {
  threads?: number
  maxTokens?: number
  recompute?: boolean
  float64?: boolean
}

/** A native trainer with realistic random weights, and where each of its tensors lies. */
export class TestTrainer {
  readonly native: NativeTrainer
  readonly tensors: NamedRange[]
  readonly numParameters: number
  readonly float64: boolean

  constructor(json: ConfigJson, options: TestTrainerOptions = {}) {
    const config = parseConfig(json, 'test')
    this.float64 = options.float64 ?? true
    this.native = new (loadNative().Trainer)({
      config: nativeConfig(config),
      threads: 2,
      maxTokens: 18,
      recompute: false,
      ...options,
      float64: this.float64,
    })
    let end = 0
    this.tensors = tensorSpecs(config).map(({ name, shape, kind }) => {
      const begin = end
      end += shape.reduce((product, length) => product * length, 1)
      return { name, begin, end, isMatrix: kind === 'matrix' }
    })
    this.numParameters = end

    const random = randomNumbers(1)
    const weights = new Float64Array(end)
    for (const { begin, end, isMatrix } of this.tensors) {
      for (let i = begin; i < end; i++) weights[i] = isMatrix ? 0.3 * random() : 1 + 0.3 * random()
    }
    this.write('weights', weights)
  }

  read(array: NativeTrainerArray): Float64Array {
    const values = this.float64
      ? new Float64Array(this.numParameters)
      : new Float32Array(this.numParameters)
    this.native.read(array, 0, new Uint8Array(values.buffer))
    return Float64Array.from(values)
  }

  write(array: NativeTrainerArray, values: Float64Array): void {
    const typed = this.float64 ? values : Float32Array.from(values)
    this.native.write(array, 0, new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength))
  }
}

/** What `accumulate` takes: sequences of one length, and one scale for all of them. */
export function wholeBatch(
  { tokens, targets }: { tokens: Int32Array; targets: Int32Array },
  sequenceLength: number,
) {
  const count = tokens.length / sequenceLength
  return { tokens, targets, lengths: new Int32Array(count).fill(sequenceLength) }
}

export function gradientOptions(sequences: number, scale: number, zLoss: number) {
  const scales = new Float64Array(sequences).fill(scale)
  return { scales, zLoss, seed: 0, step: 0, firstExample: 0 }
}

/** Numbers from -1 to 1, always the same ones for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b9) || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 31 - 1
  }
}

/** Tokens and their targets, of which every fifth is ignored. */
export function randomBatch(vocabSize: number, size: number, seed: number) {
  const random = randomNumbers(seed)
  const token = () => Math.floor(((random() + 1) / 2) * vocabSize) % vocabSize
  const tokens = Int32Array.from({ length: size }, token)
  const targets = Int32Array.from({ length: size }, (_, i) => (i % 5 === 4 ? -1 : token()))
  return { tokens, targets, numTargets: targets.filter(target => target >= 0).length }
}
