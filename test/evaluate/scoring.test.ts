import { join } from 'node:path'
import t from 'tap'
import { parseConfig } from '../../lib/config.js'
import { type EncodedRequest, truncate } from '../../lib/evaluate/encode-request.js'
import { OpenELM } from '../../lib/model.js'
import type { Session } from '../../lib/session.js'
import { type TensorSource, writeCheckpoint } from '../../lib/write-checkpoint.js'
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

/**
 * A model whose logit of token v at position p after token i is sin(7p + 3v + i/2), as the goldens have
 * it. No model of the family has such logits: after tokens that are all equal, attention gives the same
 * at every position. So tokens know their positions here: `p * 16 + i` is token i at position p, and
 * what comes next is, beyond doubt, a token at position p + 1. The layers compute, and add nothing; the
 * output matrix holds the formula.
 */
const numTokens = 16
const numPositions = 19
const vocabSize = numTokens * numPositions
const config = parseConfig(
  {
    vocab_size: vocabSize,
    max_context_length: 32,
    num_transformer_layers: 2,
    model_dim: vocabSize,
    head_dim: 16,
    num_gqa_groups: 1,
    qkv_multipliers: 1,
    ffn_multipliers: 0.5,
    ffn_dim_divisor: 16,
    normalize_qk_projections: true,
    share_input_output_layers: false,
  },
  'formula',
)

const weights: TensorSource = ({ name, shape: [rows = 1, columns = 1] }) => {
  const valueAt = (row: number, column: number) => {
    if (name.endsWith('token_embeddings.weight')) return row === column ? Math.sqrt(vocabSize) : 0
    if (name === 'lm_head.weight') return logitOf(row, column)
    if (name === 'transformer.norm.weight') return 1 / Math.sqrt(vocabSize)
    if (/(out_proj|proj_2)\.weight$/.test(name)) return 0
    return columns === 1 ? 1 : Math.cos(row + 2 * column) / 16
  }
  const values = Array.from({ length: rows * columns }, (_, i) => {
    return valueAt(Math.floor(i / columns), i % columns)
  })
  return [new Uint8Array(Float32Array.from(values).buffer)]
}

function logitOf(next: number, token: number): number {
  const [position, nextPosition] = [token, next].map(id => Math.floor(id / numTokens)) as [
    number,
    number,
  ]
  if (nextPosition !== position + 1) return -100
  return Math.sin(7 * position + 3 * (next % numTokens) + 0.5 * (token % numTokens))
}

const directory = join(t.testdir(), 'formula')
await writeCheckpoint(directory, config, 'float32', weights)
const model = await OpenELM.load(directory, { backend: 'cpu' })
t.teardown(() => model.dispose())

/** Tokens that stand at `position` and behind it. */
function at(position: number, tokens: ArrayLike<number>): Int32Array {
  return Int32Array.from(tokens, (token, i) => (position + i) * numTokens + token)
}

/** A session, and how many tokens it has computed. */
function openSession(contextLength: number): { session: Session; numComputed: () => number } {
  const session = model.createSession({ contextLength })
  t.teardown(() => session.dispose())
  const { native } = session
  const scores = native.scores.bind(native)
  let count = 0
  Object.defineProperty(native, 'scores', {
    value(...[tokens, ...more]: Parameters<typeof scores>) {
      count += tokens.length
      return scores(tokens, ...more)
    },
  })
  return { session, numComputed: () => count }
}

t.test('cut requests and their scores by the engine, as the harness has them', async t => {
  for (const golden of cases) {
    const { context, continuation, max_length, input } = golden
    const request = cut(context, continuation, max_length)!
    t.same([...request.context, ...request.continuation.slice(0, -1)], input)
    const { session } = openSession(input.length)
    const { length } = request.context
    const choice = at(length, request.continuation)
    const [answer] = await session.scoreChoices(at(0, request.context), [choice])
    t.ok(Math.abs(answer!.logprob - golden.logprob) < 1e-5, `${answer!.logprob}`)
    t.equal(answer!.isGreedy, golden.is_greedy)
    t.equal(answer!.tokens, continuation.length)
  }
  t.equal(cases.length, 33)
})

t.test('choices after one context, each token of which is computed once', async t => {
  const { session, numComputed } = openSession(8)
  const context = at(0, [1, 5, 7, 2])
  const choices = [[3, 4], [3], [3, 4, 5, 6, 7], [8, 9, 10, 11]].map(ids => at(4, ids))
  const together = await session.scoreChoices(context, choices)
  t.equal(numComputed(), 4 + 1 + 4 + 3)
  for (const order of [[0], [1], [2], [3], [3, 2, 1, 0], [1, 3]]) {
    const some = await openSession(8).session.scoreChoices(
      context,
      order.map(i => choices[i]!),
    )
    t.strictSame(
      some,
      order.map(i => together[i]),
    )
  }
  t.same(session.tokens, [...context])
  const before = numComputed()
  session.rewind(0)
  await session.scoreChoices(at(0, [1, 5, 7, 3]), [])
  t.equal(numComputed() - before, 1)
  await t.rejects(session.scoreChoices(at(4, [1]), [new Int32Array(5)]), {
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
