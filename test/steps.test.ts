import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { convertInParts, finish, finishInSlices, isBetweenCharacters } from '../lib/steps.js'

/** Works for a time, a millisecond a step. */
function* work(milliseconds: number): Generator<'', string> {
  for (let i = 0; i < milliseconds; i++) {
    const end = performance.now() + 1
    while (performance.now() < end);
    yield ''
  }
  return 'done'
}

/** How often the event loop turns until `end` does. */
async function countTurns(end: Promise<unknown>): Promise<number> {
  let turns = 0
  let isDone = false
  const turn = () => {
    turns++
    if (!isDone) setImmediate(turn)
  }
  setImmediate(turn)
  await end
  isDone = true
  return turns
}

t.test('the event loop turns between slices', async t => {
  t.equal(finish(work(2)), 'done')
  const long = finishInSlices(work(50))
  t.ok((await countTurns(long)) >= 7)
  t.equal(await long, 'done')
})

t.test('short work is done without a turn of the loop', async t => {
  let turned = false
  setImmediate(() => {
    turned = true
  })
  t.equal(await finishInSlices(work(1)), 'done')
  t.notOk(turned)
})

t.test('work at the same time has one slice a turn', async t => {
  const all = Promise.all([work(30), work(30), work(30)].map(steps => finishInSlices(steps)))
  // Three slices a turn would be 6 turns.
  t.ok((await countTurns(all)) >= 12)
})

t.test('a signal ends it', async t => {
  const reason = new Error('enough')
  const signal = AbortSignal.timeout(5)
  const aborted = AbortSignal.any([signal])
  await t.rejects(finishInSlices(work(1000), aborted), { name: 'TimeoutError' })
  const controller = new AbortController()
  setImmediate(() => controller.abort(reason))
  await t.rejects(finishInSlices(work(1000), controller.signal), reason)
})

t.test('a text converted in parts is the converted text', async t => {
  const text = fc.string({ unit: 'grapheme', maxLength: 30 })
  const double = (part: string) => Array.from(part, character => character + character).join('')
  const property = fc.property(text, fc.integer({ min: 1, max: 5 }), (text, length) => {
    const converted = finish(convertInParts(text, isBetweenCharacters, double, length))
    assert.equal(converted, double(text))
  })
  t.doesNotThrow(() => fc.assert(property))
})
