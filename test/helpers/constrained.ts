import type { Constraint } from '../../lib/constraint/constraint.js'
import { constraintSource } from '../../lib/constraint/constraint-source.js'
import { Constraints } from '../../lib/constraint/constraints.js'
import { loadNative } from '../../lib/native.js'
import type { NativeConstrainedText } from '../../lib/native-constraint.js'
import type { NativeSample } from '../../lib/native-session.js'
import { readSamplerOptions } from '../../lib/sampler-options.js'
import { loadTokenizer } from '../../lib/tokenizer.js'

const model = { vocabSize: 32000, bosTokenId: 1, eosTokenId: 2 }

/** LLaMA's vocabulary. */
export const tokenizer = await loadTokenizer(undefined, model)
export const endToken = model.eosTokenId
const bytesOf = (token: number) => tokenizer.bytesOf(token)
export const constraints = new Constraints({ vocabSize: model.vocabSize, bytesOf })

export function compile(constraint: unknown): Promise<Constraint> {
  return constraints.get(constraintSource('options.responseConstraint', constraint), undefined)
}

export function follow(constraint: Constraint): NativeConstrainedText {
  return constraint.begin([endToken], false)
}

const { Sampler } = loadNative()
const greedy = (options: object) =>
  new Sampler(model.vocabSize, readSamplerOptions({ temperature: 0, ...options }, model.vocabSize))

/** Tokens with a quote or a bracket that closes: without a liking for them few random texts would end. */
const closing = Array.from({ length: model.vocabSize }, (_, token) => token).filter(token =>
  /^["\]}, ]+$/.test(tokenizer.decode([token], { continuation: true })),
)
const free = greedy({})
const closer = greedy({ logitBias: Object.fromEntries(closing.map(token => [token, 50])) })

/** Random scores: each stretch of them chooses among any tokens with equal chances. */
const scores = Float32Array.from({ length: 2 * model.vocabSize }, seeded(7))

/** A text of tokens that random scores choose; undefined if it has not ended after `maxTokens`. */
export function randomText(
  constraint: Constraint,
  random: () => number,
  maxTokens = 600,
): string | undefined {
  const text = follow(constraint)
  const tokens: number[] = []
  while (tokens.length < maxTokens) {
    const begin = Math.floor(random() * model.vocabSize)
    const sampler = random() < 0.3 + tokens.length / maxTokens ? closer : free
    const { token, isLast } = draw(text, scores.subarray(begin, begin + model.vocabSize), sampler)
    if (token !== endToken) tokens.push(token)
    if (isLast || token === endToken) return tokenizer.decode(tokens, { continuation: true })
  }
  return undefined
}

/** Draws what has the best score of what may come, and goes on behind it. */
export function draw(
  text: NativeConstrainedText,
  scores: Float32Array,
  sampler = free,
): NativeSample {
  return sampler.sample(scores, text)
}

/** Numbers from 0 to below 1, the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}
