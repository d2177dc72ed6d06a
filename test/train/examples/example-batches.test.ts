import t from 'tap'
import type { ExampleRow } from '../../../lib/train/examples/example.js'
import { ExampleBatches } from '../../../lib/train/examples/example-batches.js'
import { microBatches } from '../../../lib/train/examples/micro-batches.js'
import { examplesOf } from '../../helpers/examples.js'

const scratch = t.testdir()

/** Rows that are told apart by their tokens, of different lengths. */
const rows = Array.from({ length: 23 }, (_, i) => ({ text: 'a '.repeat(i % 5) + i }))
const { rows: examples } = await examplesOf(scratch, rows)

function keyOf(row: ExampleRow): string {
  return row.map(({ tokens }) => tokens.join(' ')).join('; ')
}

t.test('an epoch has each row once, in an order of its own', async t => {
  const batches = new ExampleBatches(examples, { batchSize: 5, seed: 3 })
  t.equal(batches.stepsPerEpoch, 5)
  const epoch = (number: number) => {
    const steps = Array.from({ length: 5 }, (_, i) => batches.at(5 * number + i))
    t.same(
      steps.map(step => step.length),
      [5, 5, 5, 5, 3],
      'the last step has what is left',
    )
    return steps.flat().map(keyOf)
  }
  const [first, second] = [epoch(0), epoch(1)]
  t.equal(new Set(first).size, 23)
  t.same(first.toSorted(), second.toSorted())
  t.notSame(first, second)
})

t.test('the rows of a step go by its number and the seed alone', async t => {
  const steps = [7, 2, 11, 0]
  const batches = new ExampleBatches(examples, { batchSize: 4, seed: 3 })
  const seen = steps.map(step => batches.at(step).map(keyOf))
  for (const [i, step] of steps.entries()) {
    const resumed = new ExampleBatches(examples, { batchSize: 4, seed: 3 })
    t.same(resumed.at(step).map(keyOf), seen[i])
  }
  const other = new ExampleBatches(examples, { batchSize: 4, seed: 4 })
  t.notSame(other.at(7).map(keyOf), seen[0])
})

t.test('a step has the same sequences and targets however it is cut', async t => {
  const step = new ExampleBatches(examples, { batchSize: 16, seed: 0 }).at(0)
  const read = (microBatchTokens: number) => {
    const batches = [...microBatches(step, microBatchTokens)]
    for (const { lengths, tokens, targets, rows: filled } of batches) {
      const sum = lengths.reduce((total, length) => total + length, 0)
      t.equal(tokens.length, sum)
      t.equal(targets.length, sum)
      t.ok(sum <= microBatchTokens || filled.length === 1)
    }
    return {
      count: batches.length,
      numTargets: batches.reduce((sum, { numTargets }) => sum + numTargets, 0),
      tokens: batches.flatMap(({ tokens }) => [...tokens]),
      targets: batches.flatMap(({ targets }) => [...targets]),
      lengths: batches.flatMap(({ lengths }) => [...lengths]),
    }
  }
  const { count, ...whole } = read(4096)
  t.equal(count, 1)
  for (const microBatchTokens of [1, 10, 13, 40]) {
    const { count: more, ...cut } = read(microBatchTokens)
    t.ok(more > 1)
    t.same(cut, whole)
  }
  t.equal(read(1).count, 16, 'a row that is too long alone is not cut')
})

t.test(
  'sequences lie side by side without padding, and the end of one is no context of the next',
  async t => {
    const conversations = await examplesOf(scratch, [
      { prompt: 'a', completion: ' b' },
      { prompt: 'c d', completion: ' e f' },
    ])
    const both = [conversations.rows.at(0), conversations.rows.at(1)]
    const [batch] = microBatches(both, 4096)
    const [first, second] = both.map(([example]) => example)
    t.same([...batch!.lengths], [first!.tokens.length - 1, second!.tokens.length - 1])
    t.same([...batch!.tokens], [...first!.tokens.slice(0, -1), ...second!.tokens.slice(0, -1)])
    t.same([...batch!.targets], [-1, ...first!.tokens.slice(2), -1, -1, ...second!.tokens.slice(3)])
    t.equal(batch!.tokens[batch!.lengths[0]!], 1, 'each begins with BOS')
    t.notOk(batch!.tokens.includes(2), 'EOS is only ever predicted')
    t.equal(batch!.numTargets, 5)
  },
)

t.test('a target is a place, not a value: EOS in the place of a target is learnt', async t => {
  const { rows: ended } = await examplesOf(scratch, [{ prompt: 'a', completion: ' b' }])
  const [batch] = microBatches([ended.at(0)], 4096)
  t.equal(batch!.targets.at(-1), 2)
})

t.test('a pair stays together', async t => {
  const pairs = await examplesOf(
    scratch,
    Array.from({ length: 6 }, (_, i) => ({ prompt: `${i}`, chosen: ' a b c', rejected: ' d' })),
  )
  const all = Array.from({ length: 6 }, (_, i) => pairs.rows.at(i))
  const pairTokens = all[0]!.reduce((sum, { tokens }) => sum + tokens.length - 1, 0)
  const batches = [...microBatches(all, Math.floor(2.5 * pairTokens))]
  t.same(
    batches.map(({ lengths }) => lengths.length),
    [4, 4, 4],
  )
  const [batch] = batches
  t.ok(batch!.lengths[0]! > batch!.lengths[1]!, 'the chosen one, then the rejected one')
  t.same(batch!.rows, all.slice(0, 2))
})

t.test('rows are held out by their place and the seed', async t => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ text: `${i}` }))
  const { rows: thousand } = await examplesOf(scratch, many)
  const { train, validation } = thousand.split(0.1, 5)
  t.equal(train.length + validation.length, 1000)
  t.ok(validation.length > 70 && validation.length < 130, `${validation.length}`)
  const keys = (part: typeof train) =>
    Array.from({ length: part.length }, (_, i) => keyOf(part.at(i)))
  t.equal(new Set([...keys(train), ...keys(validation)]).size, 1000)
  t.same(keys(thousand.split(0.1, 5).validation), keys(validation))
  t.notSame(keys(thousand.split(0.1, 6).validation), keys(validation))

  const dropped = await examplesOf(
    scratch,
    many.map(({ text }, i) => ({ prompt: i === 0 ? 'a '.repeat(100) : '', completion: text })),
    { sequenceLength: 50 },
  )
  t.equal(dropped.rows.length, 999)
  const held = new Set(keys(validation))
  held.delete(keyOf(thousand.at(0)))
  t.same(new Set(keys(dropped.rows.split(0.1, 5).validation)), held, 'a dropped row moves no other')
})
