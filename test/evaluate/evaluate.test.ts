import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { RequestEncoder } from '../../lib/evaluate/encode-request.js'
import {
  type EvaluateOptions,
  type EvaluationProgress,
  type EvaluationResults,
  evaluate,
  mergeResults,
} from '../../lib/evaluate/index.js'
import { OpenELM } from '../../lib/model.js'
import { finish } from '../../lib/steps.js'

const data = join(import.meta.dirname, 'data/documents')
const model = await OpenELM.load('openelm-nano', { backend: 'cpu', dtype: 'float32' })
t.teardown(() => model.dispose())

const few = ['arc_challenge', 'hellaswag', 'winogrande', 'race', 'mmlu_anatomy']

async function run(options: Partial<EvaluateOptions>, of = model) {
  const progress: EvaluationProgress[] = []
  const generator = evaluate(of, { tasks: few, data, ...options })
  for (;;) {
    const { done, value } = await generator.next()
    if (done) return { progress, results: value }
    progress.push(value)
  }
}

let whole: EvaluationResults

t.test('every request is scored as the model scores it by itself', async t => {
  const { progress, results } = await run({ tasks: [...few, 'crows_pairs_english', 'sciq'] })
  const encoder = new RequestEncoder(model.tokenizer)
  let numCompared = 0
  for (const { sample, task } of progress) {
    for (const [i, [context, continuation]] of sample.arguments.entries()) {
      const ids = finish(encoder.encode({ context, continuation }))
      if (ids.context.length + ids.continuation.length > model.contextLength) continue
      const { logprob, isGreedy } = await model.score(ids.context, ids.continuation)
      t.strictSame(sample.filtered_resps[i], [logprob, isGreedy], `${task} ${sample.doc_id} ${i}`)
      numCompared++
    }
  }
  t.ok(numCompared > 100)
  t.equal(results.reports.length, 1)
  const last = progress.at(-1)!
  t.equal(last.run, last.numRuns - 1)
  t.equal(last.documents, last.totalDocuments)
  t.equal(last.tokens, last.totalTokens)
})

t.test('sessions, and with them batches and chunks, change nothing, nor do threads', async t => {
  const samplesOf = ({ progress }: Awaited<ReturnType<typeof run>>) => {
    return progress
      .map(({ task, sample }) => ({ task, sample }))
      .toSorted((a, b) => a.task.localeCompare(b.task) || a.sample.doc_id - b.sample.doc_id)
  }
  const one = await run({ sessions: 1, numFewshot: 2 })
  whole = one.results
  for (const sessions of [2, 4, 31, undefined]) {
    const other = await run({ sessions, numFewshot: 2 })
    t.strictSame(other.results, one.results)
    t.strictSame(samplesOf(other), samplesOf(one))
  }
  const byThreads: unknown[] = []
  for (const threads of [1, 2, 3]) {
    const options = { backend: 'cpu', dtype: 'q8', threads } as const
    await using other = await OpenELM.load('openelm-nano', options)
    byThreads.push(samplesOf(await run({ sessions: threads, numFewshot: 1 }, other)))
  }
  t.strictSame(byThreads[1], byThreads[0])
  t.strictSame(byThreads[2], byThreads[0])
})

t.test('shards add up to the whole', async t => {
  for (const count of [2, 3]) {
    const parts: EvaluationResults[] = []
    for (let index = 0; index < count; index++) {
      const { results } = await run({ numFewshot: 2, shard: { index, count } })
      parts.push(JSON.parse(JSON.stringify(results)))
    }
    t.strictSame(mergeResults(parts.toReversed()), JSON.parse(JSON.stringify(whole)))
    t.throws(() => mergeResults(parts.slice(1)), { message: /document 0 is missing/ })
    t.throws(() => mergeResults([...parts, parts[0]!]), { message: /document 0 is in two parts/ })
  }
})

t.test('a run that was interrupted goes on where it was', async t => {
  const { length } = (await run({ numFewshot: 2 })).progress
  for (let moment = 0; moment < 10; moment++) {
    const answers = join(t.testdir(), 'answers.jsonl')
    const numSeen = Math.floor((moment * length) / 10)
    const controller = new AbortController()
    const stopped = new Error('stopped')
    const interrupted = evaluate(model, {
      tasks: few,
      data,
      numFewshot: 2,
      answers,
      signal: controller.signal,
    })
    for (let i = 0; i < numSeen; i++) await interrupted.next()
    controller.abort(stopped)
    await t.rejects(interrupted.next(), stopped)
    const written = readFileSync(answers, 'utf8')
    if (moment % 2 === 1) truncateSync(answers, Buffer.byteLength(written) - 3)
    const { results } = await run({ numFewshot: 2, answers })
    t.strictSame(results, whole)
    t.equal(readFileSync(answers, 'utf8').split('\n').length - 1, length)
  }
})

t.test('answers are those of one model and its requests', async t => {
  const answers = join(t.testdir(), 'answers.jsonl')
  const lines = () => readFileSync(answers, 'utf8').split('\n').length - 1
  await run({ tasks: ['piqa'], answers })
  const count = lines()
  await run({ tasks: ['piqa'], answers })
  t.equal(lines(), count)
  await using other = await OpenELM.load('openelm-nano', { backend: 'cpu', dtype: 'q8' })
  for await (const _ of evaluate(other, { tasks: ['piqa'], data, answers }));
  t.equal(lines(), 2 * count)
  writeFileSync(answers, '{"key": 1}\n')
  await t.rejects(run({ tasks: ['piqa'], answers }), {
    code: 'INVALID_DATA',
    message: /answers\.jsonl: row 1: expected the answers of a document/,
  })
})

t.test('a limit, and one that is larger than the split', async t => {
  const { results } = await run({ tasks: ['arc_easy', 'mmlu_anatomy'], limit: 3 })
  const counts = results.reports[0]!['n-samples']
  t.same(counts.arc_easy, { original: 6, effective: 3 })
  const all = await run({ tasks: ['arc_easy'], limit: 1e9 })
  t.same(all.results.reports[0]!['n-samples'].arc_easy, { original: 6, effective: 6 })
})

t.test('leaving the generator ends the work', async t => {
  for await (const { documents } of evaluate(model, { tasks: ['hellaswag'], data })) {
    t.equal(documents, 1)
    break
  }
  await model.generate('Then', { maxTokens: 2 })
})

t.test('an abort while scoring', async t => {
  const generator = evaluate(model, { tasks: few, data, signal: AbortSignal.timeout(30) })
  await t.rejects(
    async () => {
      for await (const _ of generator);
    },
    { name: 'TimeoutError' },
  )
})

t.test('what is wrong with options', async t => {
  const bad: [object, RegExp][] = [
    [
      { tasks: ['arc'], data },
      /expected options\.tasks\[0\] to be one of zero-shot.*received "arc"/,
    ],
    [{ tasks: [], data }, /options\.tasks to be at least one name/],
    [{ tasks: ['piqa'], data: 7 }, /options\.data/],
    [{ tasks: ['piqa'], data, shard: { index: 2, count: 2 } }, /options\.shard\.index/],
    [{ tasks: ['piqa'], data, limit: 0 }, /options\.limit/],
    [{ tasks: ['piqa'], data, sessions: 0 }, /options\.sessions/],
    [{ tasks: ['piqa'], data, numFewShot: 2 }, /did you mean numFewshot/],
  ]
  for (const [options, message] of bad) {
    t.throws(() => evaluate(model, options as EvaluateOptions), {
      code: 'INVALID_ARGUMENT',
      message,
    })
  }
  t.throws(() => evaluate({} as OpenELM, { tasks: ['piqa'], data }), { code: 'INVALID_ARGUMENT' })
})
