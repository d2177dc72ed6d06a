import { tensorHeaders } from '../convert/index.js'
import type { DType, OpenELM, OpenELMConfig } from '../index.js'

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
  /** One value for each repetition. */
  readonly tokensPerSecond: number[]
  /**
   * Milliseconds from one token to the next, of each repetition, for tg without a depth. What comes
   * before the first is the prompt's.
   */
  readonly tokenMs?: number[]
}

const depthTokens = 32

/** The context length that a model needs for a plan. */
export function contextLengthFor({ prompts, generated, depths }: BenchPlan): number {
  return Math.max(...prompts, generated + 1, ...depths.map(depth => depth + depthTokens + 1))
}

/**
 * Measures a model. Prompts are the same arbitrary tokens every time, for speed does not depend on them.
 * Some work of each kind comes before it is timed.
 *
 * @param onProgress called with the tokens so far and in all.
 */
export async function measureSpeed(
  model: OpenELM,
  { prompts, generated, depths, repetitions }: BenchPlan,
  signal?: AbortSignal,
  onProgress?: (tokens: number, total: number) => void,
): Promise<BenchTest[]> {
  const ofDepths = depths.map(depth => depth + depthTokens + 1)
  const perRepetition = [...prompts, generated, ...ofDepths].reduce((sum, n) => sum + n, 0)
  let done = 0
  const advance = (tokens: number) => {
    done += tokens
    onProgress?.(done, repetitions * perRepetition)
  }
  const append = async (tokens: number[]) => {
    using session = model.createSession({ contextLength: tokens.length })
    await session.append(tokens, { signal })
  }
  const generate = async (promptTokens: number, maxTokens: number, report = advance) => {
    const prompt = arbitraryTokens(promptTokens, model.config)
    const start = performance.now()
    const at: number[] = []
    for await (const _ of model.stream(prompt, { maxTokens, ignoreEos: true, signal })) {
      at.push(performance.now())
      report(1)
    }
    const tokenMs = at.slice(1).map((time, i) => time - at[i]!)
    return { ms: at.at(-1)! - start, decodeMs: at.at(-1)! - at[0]!, tokenMs }
  }

  onProgress?.(0, repetitions * perRepetition)
  const tests: BenchTest[] = []
  if (prompts.length > 0) await append(arbitraryTokens(prompts[0]!, model.config))
  for (const length of prompts) {
    const tokens = arbitraryTokens(length, model.config)
    const times = await repeat(repetitions, async () => {
      const ms = await timeOf(() => append(tokens))
      advance(length)
      return ms
    })
    tests.push({ name: `pp${length}`, tokensPerSecond: times.map(ms => (1000 * length) / ms) })
  }
  if (generated > 0) {
    await generate(1, 8, () => {})
    const runs = await repeat(repetitions, () => generate(1, generated))
    tests.push({
      name: `tg${generated}`,
      tokensPerSecond: runs.map(({ ms }) => (1000 * generated) / ms),
      tokenMs: runs.flatMap(({ tokenMs }) => tokenMs),
    })
  }
  for (const depth of depths) {
    const runs = await repeat(repetitions, async () => {
      const run = await generate(depth, depthTokens + 1)
      advance(depth)
      return run
    })
    tests.push({
      name: `tg${depthTokens}@d${depth}`,
      tokensPerSecond: runs.map(({ decodeMs }) => (1000 * depthTokens) / decodeMs),
    })
  }
  return tests
}

/** Bytes of weights that generating one token reads from memory. */
export function bytesPerToken(config: OpenELMConfig, dtype: DType): number {
  // Of an embedding that is not also the output matrix, a token reads one row.
  const isRead = ({ name }: { name: string }) =>
    config.shareInputOutputLayers || !name.startsWith('transformer.token_embeddings.')
  const headers = tensorHeaders(config, dtype).filter(isRead)
  return headers.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

/** Operations of processing a prompt of this many tokens. Logits are computed for the last one only. */
export function promptOperations(config: OpenELMConfig, tokens: number): number {
  const matrices = tensorHeaders(config, 'float32').filter(
    ({ name, shape }) => name.includes('.layers.') && shape.length === 2,
  )
  const weights = matrices.reduce((sum, { byteLength }) => sum + byteLength / 4, 0)
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

/** Token ids without control tokens, which come first in a vocabulary. */
export function arbitraryTokens(length: number, { vocabSize }: { vocabSize: number }): number[] {
  return Array.from({ length }, (_, i) => 3 + ((i * 7919) % (vocabSize - 3)))
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
