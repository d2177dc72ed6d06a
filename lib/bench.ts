import { type OpenELMConfig, tensorSpecs } from './config.js'
import type { LoadOptions } from './load-options.js'
import { OpenELM } from './model.js'
import { byteLengthOf } from './safetensors.js'
import { type DType, embeddingsName, tensorHeaders } from './tensor-headers.js'

/** What to measure, each as often as `repetitions` says. */
export interface BenchPlan {
  /** Lengths of prompts to process. */
  readonly prompts: readonly number[]
  /** Tokens to generate, one after the other; 0 for none. */
  readonly generated: number
  /** Lengths of contexts to generate 32 tokens after. */
  readonly depths: readonly number[]
  readonly repetitions: number
}

/** One measurement, under the name that llama-bench gives it. */
export interface BenchTest {
  /** pp512 processes 512 tokens, tg128 generates 128, tg32@d2048 generates 32 after 2,048. */
  readonly name: string
  /** Of each repetition. */
  readonly tokensPerSecond: number[]
  /**
   * Milliseconds from one token to the next, of each repetition, for tg without a depth. What comes
   * before the first is the prompt's.
   */
  readonly tokenMs?: number[]
}

export interface BenchResult {
  readonly dtype: DType
  readonly config: OpenELMConfig
  /** From the call of load until the model can be used. */
  readonly loadMs: number
  readonly tests: BenchTest[]
  /** Bytes that the engine allocated for weights. */
  readonly weightBytes: number
  /** The most physical memory that the process had, in bytes. */
  readonly peakMemory: number
}

const depthTokens = 32

/**
 * Loads a model and measures it. Prompts are the same arbitrary tokens every time, for speed does not
 * depend on them. Some work of each kind comes before it is timed.
 */
export async function bench(
  source: string,
  options: Omit<LoadOptions, 'contextLength'>,
  { prompts, generated, depths, repetitions }: BenchPlan,
): Promise<BenchResult> {
  const lengths = [...prompts, generated + 1, ...depths.map(depth => depth + depthTokens + 1)]
  const start = performance.now()
  await using model = await OpenELM.load(source, {
    ...options,
    contextLength: Math.max(...lengths),
  })
  const loadMs = performance.now() - start

  const tests: BenchTest[] = []
  if (prompts.length > 0) await appendAll(model, arbitraryTokens(prompts[0]!, model.config))
  for (const length of prompts) {
    const tokens = arbitraryTokens(length, model.config)
    const times = await repeat(repetitions, () => timeOf(() => appendAll(model, tokens)))
    tests.push({ name: `pp${length}`, tokensPerSecond: times.map(ms => (1000 * length) / ms) })
  }
  if (generated > 0) {
    await generate(model, 1, 8)
    const runs = await repeat(repetitions, () => generate(model, 1, generated))
    tests.push({
      name: `tg${generated}`,
      tokensPerSecond: runs.map(({ ms }) => (1000 * generated) / ms),
      tokenMs: runs.flatMap(({ tokenMs }) => tokenMs),
    })
  }
  for (const depth of depths) {
    const runs = await repeat(repetitions, () => generate(model, depth, depthTokens + 1))
    tests.push({
      name: `tg${depthTokens}@d${depth}`,
      tokensPerSecond: runs.map(({ decodeMs }) => (1000 * depthTokens) / decodeMs),
    })
  }
  return {
    dtype: model.dtype,
    config: model.config,
    loadMs,
    tests,
    weightBytes: model.memory.weights,
    peakMemory: process.resourceUsage().maxRSS * 1024,
  }
}

/** Bytes of the weights that a token needs, each once. */
export function bytesPerToken(config: OpenELMConfig, dtype: DType): number {
  const isRead = ({ name }: { name: string }) =>
    config.shareInputOutputLayers || !name.startsWith(embeddingsName)
  const headers = tensorHeaders(config, dtype).filter(isRead)
  return headers.reduce((sum, header) => sum + byteLengthOf(header), 0)
}

/** Operations of a prompt of so many tokens, of which the last alone gets logits. */
export function promptOperations(config: OpenELMConfig, tokens: number): number {
  const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1)
  const matrices = tensorSpecs(config).filter(({ kind }) => kind === 'matrix')
  const inLayers = matrices.filter(({ name }) => name.includes('.layers.'))
  const weights = inLayers.reduce((sum, { shape }) => sum + size(shape), 0)
  const queryDims = config.numQueryHeads.reduce((sum, heads) => sum + heads * config.headDim, 0)
  // A token sees half of the others on average, and takes part in two products with each.
  const attention = 2 * queryDims * (tokens / 2)
  return 2 * (tokens * (weights + attention) + config.vocabSize * config.modelDim)
}

/** The value below which the given fraction of the values lies. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = fraction * (sorted.length - 1)
  const below = Math.floor(place)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (place - below) * (sorted[above]! - sorted[below]!)
}

/** Token ids that no model finds special. */
export function arbitraryTokens(length: number, { vocabSize }: { vocabSize: number }): number[] {
  return Array.from({ length }, (_, i) => 3 + ((i * 7919) % (vocabSize - 3)))
}

async function appendAll(model: OpenELM, tokens: number[]): Promise<void> {
  using session = model.createSession({ contextLength: tokens.length })
  await session.append(tokens)
}

async function generate(model: OpenELM, promptTokens: number, maxTokens: number) {
  const prompt = arbitraryTokens(promptTokens, model.config)
  const start = performance.now()
  const at: number[] = []
  for await (const _ of model.stream(prompt, { maxTokens, ignoreEos: true })) {
    at.push(performance.now())
  }
  const tokenMs = at.slice(1).map((time, i) => time - at[i]!)
  return { ms: at.at(-1)! - start, decodeMs: at.at(-1)! - at[0]!, tokenMs }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

async function repeat<Result>(times: number, work: () => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (let i = 0; i < times; i++) results.push(await work())
  return results
}
