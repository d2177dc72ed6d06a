import t from 'tap'
import type { EncodedRequest } from '../../lib/evaluate/encode-request.js'
import { truncate } from '../../lib/evaluate/encode-request.js'
import { scoreContinuations } from '../../lib/evaluate/score-continuations.js'
import { readData } from './goldens.js'

interface Case {
  max_length: number
  context: number[]
  continuation: number[]
  input: number[]
  logprob: number
  is_greedy: boolean
}

const { cases } = readData('loglikelihood_small.json') as unknown as { cases: Case[] }
const vocabSize = 16

/** A model whose logit of token v at position p after token i is sin(7p + 3v + i/2). */
class FormulaSession {
  readonly contextLength: number
  tokens: number[] = []

  constructor(contextLength: number) {
    this.contextLength = contextLength
  }

  async append(tokens: ArrayLike<number>): Promise<Float32Array> {
    this.tokens.push(...Array.from(tokens))
    if (this.tokens.length > this.contextLength) throw new Error('no room')
    return this.#logits(this.tokens.length - 1, this.tokens)
  }

  async score(tokens: string | ArrayLike<number>) {
    const all = [...this.tokens, ...Array.from(tokens as ArrayLike<number>)]
    if (all.length > this.contextLength) throw new Error('no room')
    let logprob = 0
    let isGreedy = true
    for (let i = this.tokens.length; i < all.length; i++) {
      const logits = this.#logits(i - 1, all)
      const best = Math.max(...logits)
      isGreedy &&= logits.indexOf(best) === all[i]
      const sum = logits.reduce((sum, logit) => sum + Math.exp(logit - best), 0)
      logprob += logits[all[i]!]! - best - Math.log(sum)
    }
    return { logprob, isGreedy, tokens: tokens.length }
  }

  rewind(position: number): void {
    this.tokens.length = position
  }

  #logits(position: number, tokens: readonly number[]): Float32Array {
    return Float32Array.from({ length: vocabSize }, (_, v) => {
      return Math.sin(7 * position + 3 * v + 0.5 * tokens[position]!)
    })
  }
}

t.test('cut requests and their scores, as the harness has them', async t => {
  for (const golden of cases) {
    const { context, continuation, max_length, input } = golden
    const request = cut(context, continuation, max_length)!
    t.same([...request.context, ...request.continuation.slice(0, -1)], input)
    const [answer] = await scoreContinuations(new FormulaSession(max_length), request.context, [
      request.continuation,
    ])
    t.ok(Math.abs(answer!.logprob - golden.logprob) < 1e-5, `${answer!.logprob}`)
    t.equal(answer!.isGreedy, golden.is_greedy)
  }
  t.equal(cases.length, 33)
})

t.test('continuations of one context', async t => {
  const session = new FormulaSession(8)
  const context = Int32Array.of(1, 5, 7, 2)
  const continuations = [[3], [3, 4], [3, 4, 5, 6, 7], [8, 9, 10, 11]].map(ids =>
    Int32Array.from(ids),
  )
  const together = await scoreContinuations(session, context, continuations)
  for (const [i, continuation] of continuations.entries()) {
    const [alone] = await scoreContinuations(new FormulaSession(8), context, [continuation])
    t.strictSame(together[i], alone)
  }
  t.equal(session.tokens.length, context.length)
})

t.test('what cannot be scored', async t => {
  t.equal(cut([1], [], 8), undefined)
  t.equal(cut([1], [1, 2, 3, 4, 5], 4), undefined)
  t.same([...cut([1, 2], [1, 2, 3, 4], 4)!.context], [2])
})

function cut(context: number[], continuation: number[], max: number): EncodedRequest | undefined {
  const ids = { context: Int32Array.from(context), continuation: Int32Array.from(continuation) }
  return truncate(ids, max)
}
