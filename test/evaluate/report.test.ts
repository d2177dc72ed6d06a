import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { documentsOf } from '../../lib/evaluate/documents.js'
import { chanceOf, metrics, resultName } from '../../lib/evaluate/metrics.js'
import { reportOf, type TaskScores } from '../../lib/evaluate/report.js'
import { taskNamed, tasks } from '../../lib/evaluate/tasks.js'
import { type GoldenSet, goldenSets, hashScore, readRows } from './goldens.js'

interface GoldenReport {
  results: Record<string, Record<string, number | string>>
  groups?: Record<string, Record<string, number | string>>
  group_subtasks: Record<string, string[]>
  versions: Record<string, number>
  'n-shot': Record<string, number>
}

/** Of these no documents are there, for their licences. */
const unlicensed = ['race', 'sciq']

for (const set of goldenSets) {
  for (const file of readdirSync(set.golden).filter(name => name.startsWith('results.'))) {
    t.test(`${set.name}: ${file}`, async t => {
      const golden: GoldenReport = JSON.parse(readFileSync(join(set.golden, file), 'utf8'))
      const names = Object.keys(golden.versions).filter(name => {
        return set.name === 'edge' || !unlicensed.includes(name)
      })
      const report = reportOf(names.map(name => scoresOf(set, name, golden['n-shot'][name]!)))
      const expected = Object.entries(golden.results).filter(([name]) => name in report.results)
      t.equal(expected.length, Object.keys(report.results).length)
      for (const [name, entry] of expected) {
        t.same(Object.keys(report.results[name]!).toSorted(), Object.keys(entry).toSorted())
        for (const [key, value] of Object.entries(entry)) {
          const ours = report.results[name]![key]
          const close = typeof ours === 'number' && Math.abs(ours - Number(value)) <= 1e-12
          if (!close) t.equal(ours, value, `${name}: ${key}`)
        }
        t.same(report.group_subtasks[name]?.toSorted(), golden.group_subtasks[name]?.toSorted())
        // The harness says 0 for the group.
        if (name !== 'mmlu') t.equal(report['n-shot'][name], golden['n-shot'][name])
        t.equal(report.versions[name], golden.versions[name])
      }
      t.same(Object.keys(report.groups ?? {}).sort(), Object.keys(golden.groups ?? {}).sort())
    })
  }
}

function scoresOf(set: GoldenSet, name: string, numFewshot: number): TaskScores {
  const task = taskNamed(name)
  const rows = readRows(set, task, task.split)
  const pool = task.fewShot ? readRows(set, task, task.fewShot.split) : []
  const documents = [...documentsOf(task, rows, { numFewshot, pool })]
  const values = documents.map(document => {
    const logprobs = document.requests.map(request => hashScore(request).logprob)
    return task.metrics.map(metric => metrics[metric](document.question, logprobs))
  })
  return {
    task: name,
    numFewshot,
    numDocuments: rows.length,
    documents: values.map((_, i) => i),
    metrics: Object.fromEntries(
      task.metrics.map((metric, i) => [resultName(metric), values.map(row => row[i]!)]),
    ),
    chances: documents.map(({ question }) => chanceOf(question)),
  }
}

t.test('one document has no standard error, and neither has its group', async t => {
  const one = (task: string): TaskScores => {
    const documents = { numDocuments: 9, documents: [3], metrics: { acc: [1] }, chances: [0.25] }
    return { task, numFewshot: 5, ...documents }
  }
  const { results, versions, chance } = reportOf(
    tasks.filter(({ name }) => name.startsWith('mmlu_')).map(({ name }) => one(name)),
  )
  t.equal(Object.keys(versions).length, 57)
  t.equal(chance.mmlu, 0.25)
  t.strictSame(results.mmlu_anatomy, {
    'acc,none': 1,
    'acc_stderr,none': 'N/A',
    alias: '  - anatomy',
  })
  t.strictSame(results.mmlu, { 'acc,none': 1, 'acc_stderr,none': 'N/A', alias: 'mmlu' })
})

t.test('what chance would score', async t => {
  const question = { contexts: ['a'], continuations: ['b', 'c', 'd'], gold: 1 }
  t.equal(chanceOf(question), 1 / 3)
  t.equal(chanceOf({ ...question, labels: [1, 0, 0] }), 1 / 3)
  t.equal(chanceOf({ ...question, labels: [1, 1, 0] }), 2 / 3)
  t.equal(chanceOf({ ...question, labels: [0, 1, 1] }), 0)
})

t.test('the sizes of the splits', async t => {
  const mmlu = tasks.filter(({ name }) => name.startsWith('mmlu_'))
  t.equal(
    mmlu.reduce((sum, { numDocuments }) => sum + numDocuments, 0),
    14042,
  )
})
