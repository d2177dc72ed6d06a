import { ConstrainedText, type Constraint } from '../../lib/constraint/constraint.js'
import { constraintSource } from '../../lib/constraint/constraint-source.js'
import { Constraints } from '../../lib/constraint/constraints.js'
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

export function follow(constraint: Constraint): ConstrainedText {
  return new ConstrainedText(constraint, bytesOf, new Set([endToken]), false)
}

/** Whether a whole text fits. */
export function accepts(constraint: Constraint, text: string): boolean {
  return constraint.accepts(constraint.read(constraint.begin(false), Buffer.from(text)))
}

/** Tokens with a quote or a bracket that closes: without a liking for them few random texts would end. */
const closing = Array.from({ length: model.vocabSize }, (_, token) => token).filter(token =>
  /^["\]}, ]+$/.test(tokenizer.decode([token], { continuation: true })),
)
const closingMask = new Uint32Array(model.vocabSize / 32)
for (const token of closing) closingMask[token >> 5]! |= 1 << (token & 31)

/** A text of tokens that random scores choose; undefined if it has not ended after `maxTokens`. */
export async function randomText(
  constraint: Constraint,
  random: () => number,
  maxTokens = 600,
): Promise<string | undefined> {
  const text = follow(constraint)
  const tokens: number[] = []
  while (tokens.length < maxTokens) {
    const mask = await text.nextMask()
    const closers = mask.map((word, i) => word & closingMask[i]!)
    const prefers = random() < 0.3 + tokens.length / maxTokens
    const token = pick(prefers && closers.some(word => word !== 0) ? closers : mask, random)
    if (token === endToken) return tokenizer.decode(tokens, { continuation: true })
    tokens.push(token)
    text.accept(token)
    if (text.isComplete) return tokenizer.decode(tokens, { continuation: true })
  }
  return undefined
}

/** One of the tokens of a mask, all equally likely. */
function pick(mask: Uint32Array, random: () => number): number {
  let count = 0
  for (const word of mask) count += bitsOf(word)
  let left = Math.floor(random() * count)
  for (const [i, word] of mask.entries()) {
    const bits = bitsOf(word)
    if (left >= bits) {
      left -= bits
      continue
    }
    for (let bit = 0; ; bit++) if ((word >>> bit) & 1 && left-- === 0) return i * 32 + bit
  }
  throw new Error('the mask is empty')
}

function bitsOf(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24
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
