import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  type EvaluateOptions,
  type EvaluationSample,
  evaluate,
  writeSamples,
} from '../../lib/evaluate/index.js'
import { OpenELM } from '../../lib/model.js'
import { readLines } from './goldens.js'

const documents = join(import.meta.dirname, 'data/documents')
const schedstat = `/proc/self/task/${process.pid}/schedstat`

/** Milliseconds that this thread has run: what others do to a busy machine is not counted. */
function threadTime(): number {
  return Number(readFileSync(schedstat, 'latin1').split(' ')[0]) / 1e6
}

/** The longest time that the event loop was held during `work`. */
async function longestHold(work: () => Promise<void>): Promise<number> {
  let longest = 0
  let last = threadTime()
  const look = () => {
    const now = threadTime()
    longest = Math.max(longest, now - last)
    last = now
  }
  const timer = setInterval(look, 1)
  await work()
  look()
  clearInterval(timer)
  return longest
}

let isCounted = process.platform === 'linux'
try {
  threadTime()
} catch {
  isCounted = false
}

t.test('nothing holds the event loop', { skip: !isCounted && 'needs schedstat' }, async t => {
  await using model = await OpenELM.load('openelm-nano', { backend: 'cpu', threads: 1 })
  const data = t.testdir()
  const repeated = (file: string, count: number) => {
    const lines = readLines<object>(join(documents, file))
    return Array.from({ length: count }, (_, i) => ({ ...lines[i % lines.length], ind: i }))
  }
  const train = repeated('hellaswag.train.jsonl', 5000)
  writeFileSync(join(data, 'hellaswag.train.json'), JSON.stringify(train))
  const lines = repeated('hellaswag.validation.jsonl', 1000).map(row => `${JSON.stringify(row)}\n`)
  writeFileSync(join(data, 'hellaswag.validation.jsonl'), lines.join(''))
  const answers = join(data, 'answers.jsonl')
  const known = { key: 'x', answers: Array.from({ length: 4 }, (_, i) => [-10 / (i + 1), false]) }
  writeFileSync(answers, `${JSON.stringify(known)}\n`.repeat(5000))

  const options = { tasks: ['hellaswag'], data, numFewshot: 4, answers } satisfies EvaluateOptions
  const work = async () => {
    const samples: EvaluationSample[] = []
    for await (const { sample } of evaluate(model, options)) {
      samples.push(sample)
      if (samples.length === 20) break
    }
    const many = Array.from({ length: 2000 }, (_, i) => samples[i % samples.length]!)
    await writeSamples(join(data, 'samples'), 'hellaswag', 4, many)
  }
  // What the compiler and the collector of garbage take differs: the best of three counts.
  let longest = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3 && longest >= 20; i++) longest = Math.min(longest, await longestHold(work))
  t.ok(longest < 20, `${longest} ms`)
})
