import t from 'tap'
import { finish } from '../../lib/steps.js'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer.js'
import { BatchStream } from '../../lib/train/batches.js'
import { shuffled } from '../../lib/train/random.js'

/** Tokens are the codes of characters, BOS is 1 and EOS 2. */
const tokenizer = {
  bosTokenId: 1,
  eosTokenId: 2,
  *encodeInSteps(text: string) {
    yield ''
    return [1, ...Array.from(text, character => character.charCodeAt(0))]
  },
} as unknown as Tokenizer

const options = { sequenceLength: 4, seed: 0, minTokens: 0, packing: false }

t.test('a shuffle has every number once, in an order of its own', async t => {
  t.same(shuffled(100, 1, 2), shuffled(100, 1, 2))
  t.notSame(shuffled(100, 1, 2), shuffled(100, 1, 3))
  t.notSame(shuffled(100, 1, 2), shuffled(100, 2, 2))
  t.same(
    [...shuffled(100, 1, 2)].sort((a, b) => a - b),
    [...Array(100).keys()],
  )
})

t.test('a piece is a sequence: cut when long, padded when short', async t => {
  const batch = new BatchStream(['abcdef'], tokenizer, options).next(1)
  const { tokens, targets, numTargets } = batch
  t.equal(batch.leftOut, 3, 'e, f and EOS')
  t.same([...tokens], [1, 97, 98, 99])
  t.same([...targets], [97, 98, 99, 100])
  t.equal(numTargets, 4)

  const short = new BatchStream(['a'], tokenizer, options).next(1)
  t.same([...short.tokens], [1, 97, 2, 2])
  t.same([...short.targets], [97, 2, -1, -1])
  t.equal(short.numTargets, 2)
  t.equal(short.leftOut, 0)
})

t.test('packing loses nothing', async t => {
  const pieces = ['abc', 'defgh', 'i']
  const stream = new BatchStream(pieces, tokenizer, { ...options, packing: true })
  const seen: number[] = []
  const next: number[] = []
  for (let i = 0; i < 7; i++) {
    const { tokens, targets } = stream.next(2)
    seen.push(...tokens)
    next.push(...targets)
  }
  t.same(seen.slice(1), next.slice(0, -1), 'targets are the tokens that follow')
  const epoch = seen.slice(0, 15).filter(token => token > 2)
  t.same(
    epoch.sort((a, b) => a - b),
    [...'abcdefghi'].map(character => character.charCodeAt(0)),
  )
})

t.test('each epoch has another order, and a cursor continues it', async t => {
  const pieces = Array.from({ length: 10 }, (_, i) => 'abcdefghij'[i]!)
  const letters = (stream: BatchStream, count: number) =>
    String.fromCharCode(...Array.from({ length: count }, () => stream.next(1).tokens[1]!))
  const stream = new BatchStream(pieces, tokenizer, options)
  const [first, second] = [letters(stream, 10), letters(stream, 10)]
  t.equal([...first].sort().join(''), 'abcdefghij')
  t.equal([...second].sort().join(''), 'abcdefghij')
  t.not(first, second)

  for (const packing of [false, true]) {
    const stream = new BatchStream(pieces, tokenizer, { ...options, packing })
    stream.next(9)
    const cursor = JSON.parse(JSON.stringify(stream.cursor))
    const expected = stream.next(20)
    const resumed = new BatchStream(pieces, tokenizer, { ...options, packing })
    resumed.cursor = cursor
    t.same(resumed.next(20), expected)
  }
})

t.test('pieces of too few tokens are left out', async t => {
  const stream = new BatchStream(['a', 'abc'], tokenizer, { ...options, minTokens: 4 })
  for (let i = 0; i < 3; i++) t.equal(stream.next(1).tokens[2], 98)
  const none = new BatchStream(['a'], tokenizer, { ...options, minTokens: 4 })
  finish(stream.check())
  t.throws(() => finish(none.check()), {
    code: 'INVALID_DATA',
  })
})

t.test('a batch can pause within a piece', async t => {
  const llama = await loadTokenizer(undefined, { vocabSize: 32000, bosTokenId: 1, eosTokenId: 2 })
  const piece = 'It was a fine evening, and the door was open. '.repeat(10_000)
  for (const packing of [false, true]) {
    const stream = new BatchStream([piece], llama, { ...options, packing })
    let pauses = 0
    for (const steps = stream.steps(1); !steps.next().done; ) pauses++
    t.ok(pauses > 10, `${pauses} pauses`)
    const expected = llama.encode(piece).slice(0, 4)
    t.same([...new BatchStream([piece], llama, { ...options, packing }).next(1).tokens], expected)
  }
})
