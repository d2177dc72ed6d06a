import { join } from 'node:path'
import t from 'tap'
import { documentsOf } from '../../lib/evaluate/documents.js'
import { metrics, resultName } from '../../lib/evaluate/metrics.js'
import { Row } from '../../lib/evaluate/row.js'
import { taskNamed } from '../../lib/evaluate/tasks.js'
import { type Golden, goldenSets, hashScore, readGoldens, readLines, readRows } from './goldens.js'

interface AdapterLine {
  task: string
  doc_id: number
  answer: string
  context: string
  continuations: string[]
}

for (const set of goldenSets) {
  t.test(`requests and metrics of the ${set.name} documents`, async t => {
    const byRun = groupByRun(readGoldens(set))
    let numRequests = 0
    for (const [name, goldens] of byRun) {
      const found = documentsOfRun(set, goldens[0]!)
      t.equal(found.length, goldens.length, name)
      for (const [i, golden] of goldens.entries()) {
        const { contexts, requests, doc_id } = golden
        const expected = requests.map(([context, continuation]) => {
          return { context: contexts[context], continuation }
        })
        numRequests += requests.length
        const { document, scores } = found[i]!
        if (document.id !== doc_id) t.fail(`${name}: document ${doc_id}`)
        if (JSON.stringify(document.requests) !== JSON.stringify(expected)) {
          t.same(document.requests, expected, `${name}: document ${doc_id}`)
        }
        for (const [metric, value] of Object.entries(golden.metrics)) {
          const close = Math.abs(scores[metric]! - value) <= 1e-12
          if (!close) t.equal(scores[metric], value, `${name}: ${metric} of document ${doc_id}`)
        }
        if (typeof golden.target === 'number') t.equal(document.question.gold, golden.target)
      }
    }
    t.equal(numRequests, { edge: 285, real: 1598 }[set.name])
  })
}

function groupByRun(goldens: readonly Golden[]): Map<string, Golden[]> {
  const byRun = new Map<string, Golden[]>()
  for (const golden of goldens) {
    const name = `${golden.task} ${golden.num_fewshot}`
    byRun.set(name, [...(byRun.get(name) ?? []), golden])
  }
  return byRun
}

function documentsOfRun(set: (typeof goldenSets)[number], { task: name, num_fewshot }: Golden) {
  const task = taskNamed(name)
  const rows = readRows(set, task, task.split)
  const pool = task.fewShot ? readRows(set, task, task.fewShot.split) : []
  return [...documentsOf(task, rows, { numFewshot: num_fewshot, pool })].map(document => {
    const logprobs = document.requests.map(request => hashScore(request).logprob)
    const scores = task.metrics.map(metric => {
      return [resultName(metric), metrics[metric](document.question, logprobs)]
    })
    return { document, scores: Object.fromEntries(scores) as Record<string, number> }
  })
}

const real = goldenSets.find(({ name }) => name === 'real')

t.test('the requests of LLM-Adapters', { skip: !real && 'needs ../shared' }, async t => {
  if (!real) return
  const lines = readLines<AdapterLine>(join(real.golden, 'llm_adapters.jsonl'))
  let numDocuments = 0
  for (const { task: config, doc_id, answer, context, continuations } of lines) {
    if (context === undefined) continue
    const task = taskNamed(`llm_adapters_${config.toLowerCase().replaceAll('-', '_')}`)
    const rows = readLines<object>(join(real.documents, 'llm_adapters', `${config}.jsonl`))
    const question = task.question(new Row({ ...rows[doc_id] }, config))
    t.same(question.contexts, [context])
    t.same(question.continuations, continuations)
    t.equal(continuations[question.gold], `the correct answer is ${answer}`)
    numDocuments++
  }
  t.equal(numDocuments, 35)
})

t.test('a limit leaves the first documents as they are', async t => {
  const [set] = goldenSets
  const task = taskNamed('winogrande')
  const rows = readRows(set!, task, 'validation')
  const pool = readRows(set!, task, 'train')
  const all = [...documentsOf(task, rows, { numFewshot: 5, pool })]
  t.same([...documentsOf(task, rows, { numFewshot: 5, pool, limit: 3 })], all.slice(0, 3))
  t.same([...documentsOf(task, rows, { numFewshot: 5, pool, limit: 1e6 })], all)
})

t.test('rows that are not as they must be', async t => {
  const bad: [string, object, RegExp][] = [
    ['arc_easy', { question: 'q' }, /rows: row 3: expected choices to be a structure/],
    [
      'arc_easy',
      { question: 'q', choices: { text: ['a'], label: ['A'] }, answerKey: 'B' },
      /expected answerKey to be one of A, received "B"/,
    ],
    ['boolq', { passage: 'p', question: 'q', label: 2 }, /label to be an integer from 0 to 1/],
    ['boolq', { passage: 'p', label: 1 }, /question to be a text, received undefined/],
    ['winogrande', { sentence: 'no gap' }, /sentence to be a text with an underscore/],
    [
      'race',
      { article: 'a', problems: '[' },
      /problems to be a list of problems, written in Python/,
    ],
    ['mmlu_anatomy', { question: 'q', choices: ['a'], answer: 0 }, /choices to be 4 texts/],
    ['llm_adapters_piqa', { instruction: 'Say.' }, /instruction to be a text that ends in/],
  ]
  for (const [name, values, message] of bad) {
    const row = new Row({ ...values }, 'rows: row 3')
    t.throws(() => taskNamed(name).question(row), { code: 'INVALID_DATA', message })
  }
})
