import t from 'tap'
import { CachedSequence } from '../../lib/cached-sequence.js'
import type { EncodedRequest } from '../../lib/evaluate/encode-request.js'
import { truncate } from '../../lib/evaluate/encode-request.js'
import type { NativeSession } from '../../lib/native-session.js'
import type { PromptEncoder } from '../../lib/prompt.js'
import { Sampler } from '../../lib/sampler.js'
import { Session } from '../../lib/session.js'
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

/** The cache of a model whose logit of token v at position p after token i is sin(7p + 3v + i/2). */
class FormulaSession {
  readonly contextLength: number
  readonly tokens: number[] = []
  numComputed = 0
  readonly #sampler = new Sampler(vocabSize, { temperature: 0, logprobs: vocabSize })

  constructor(contextLength: number) {
    this.contextLength = contextLength
  }

  get position(): number {
    return this.tokens.length
  }

  async scores(tokens: Int32Array, rows: Int32Array, targets: Int32Array) {
    const first = this.tokens.length
    this.tokens.push(...tokens)
    this.numComputed += tokens.length
    if (this.tokens.length > this.contextLength) throw new Error('no room')
    const samples = Array.from(rows, row => this.#sampler.sample(this.#logits(first + row)))
    const logprobs = samples.map(({ topLogprobs = [] }, i) => {
      return topLogprobs.find(({ token }) => token === targets[i])!.logprob
    })
    return {
      logprobs: Float32Array.from(logprobs),
      topTokens: Int32Array.from(samples, ({ token }) => token),
      topLogprobs: Float32Array.from(samples, ({ logprob = 0 }) => logprob),
    }
  }

  rewind(position: number): void {
    this.tokens.length = position
  }

  async whenIdle(): Promise<void> {}

  #logits(position: number): Float32Array {
    return Float32Array.from({ length: vocabSize }, (_, v) => {
      return Math.sin(7 * position + 3 * v + 0.5 * this.tokens[position]!)
    })
  }
}

function sessionOn(native: FormulaSession): Session {
  return new Session(new CachedSequence(native as unknown as NativeSession), {
    vocabSize,
  } as PromptEncoder)
}

t.test('cut requests and their scores, as the harness has them', async t => {
  for (const golden of cases) {
    const { context, continuation, max_length, input } = golden
    const request = cut(context, continuation, max_length)!
    t.same([...request.context, ...request.continuation.slice(0, -1)], input)
    const session = sessionOn(new FormulaSession(max_length))
    const [answer] = await session.scoreChoices(request.context, [request.continuation])
    t.ok(Math.abs(answer!.logprob - golden.logprob) < 1e-5, `${answer!.logprob}`)
    t.equal(answer!.isGreedy, golden.is_greedy)
    t.equal(answer!.tokens, continuation.length)
  }
  t.equal(cases.length, 33)
})

t.test('choices after one context, each token of which is computed once', async t => {
  const native = new FormulaSession(8)
  const session = sessionOn(native)
  const context = Int32Array.of(1, 5, 7, 2)
  const choices = [[3, 4], [3], [3, 4, 5, 6, 7], [8, 9, 10, 11]].map(ids => Int32Array.from(ids))
  const together = await session.scoreChoices(context, choices)
  t.equal(native.numComputed, 4 + 1 + 4 + 3)
  for (const order of [[0], [1], [2], [3], [3, 2, 1, 0], [1, 3]]) {
    const some = await sessionOn(new FormulaSession(8)).scoreChoices(
      context,
      order.map(i => choices[i]!),
    )
    t.strictSame(
      some,
      order.map(i => together[i]),
    )
  }
  t.same(session.tokens, [...context])
  const { numComputed } = native
  session.rewind(0)
  await session.scoreChoices(Int32Array.of(1, 5, 7, 3), [])
  t.equal(native.numComputed - numComputed, 1)
  await t.rejects(session.scoreChoices(Int32Array.of(1), [new Int32Array(5)]), {
    code: 'CONTEXT_OVERFLOW',
  })
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
