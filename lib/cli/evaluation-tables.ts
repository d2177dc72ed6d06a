import {
  type EvaluationResults,
  formatReport,
  numDocumentsOf,
  publishedScores,
  type ScoreSeries,
  suites,
} from '../evaluate/index.js'
import { formatCount } from './format.js'
import { formatTable } from './table.js'

/** The tables of the harness, then those of the paper, with Apple's figures for Apple's models. */
export function formatResults(results: EvaluationResults, model: string): string {
  const reports = results.reports.map(formatReport)
  const tables = Object.keys(results.suites).map(suite => suiteTable(results, suite, model))
  return [...reports, ...tables].join('\n')
}

function suiteTable(results: EvaluationResults, suite: string, model: string): string {
  const { columns, average } = results.suites[suite]!
  const ours = Object.values(columns)
  const apples = publishedScores(suite, model)
  const mean = apples && apples.reduce((sum, value) => sum + value, 0) / apples.length
  const names = suites[suite]!.map(({ label, numFewshot, metric }) => {
    return `${label} ${metric} ${numFewshot}-shot`
  })
  const row = (name: string, our: number, apple: number | undefined) => [
    name,
    our.toFixed(2),
    ...(apple === undefined ? [] : [apple.toFixed(2), signed(our - apple)]),
  ]
  const rows = [
    ...names.map((name, i) => row(name, ours[i]!, apples?.[i])),
    row('average', average, mean),
  ]
  const head = [suite, 'ours', ...(apples ? ["Apple's", 'difference'] : [])]
  return `${formatTable(rows, head)}\n`
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(2)}`
}

/** A warning where only some of a task's documents were scored; undefined where all were. */
export function warningOf({ reports }: EvaluationResults): string | undefined {
  const counts = reports.flatMap(report => Object.entries(report['n-samples']))
  const partial = counts.filter(([task, { effective }]) => effective !== numDocumentsOf(task))
  const [first, ...others] = partial
  if (!first) return undefined
  const [task, { effective }] = first
  const documents = `${formatCount(effective)} of ${formatCount(numDocumentsOf(task)!)} documents`
  const more = others.length === 0 ? '' : `, and so it is with ${others.length} other tasks`
  return `not to be compared with published scores: ${task} has ${documents}${more}`
}

/** What --plot draws: the first metric of each task or group, against the step in the model's name. */
export function seriesOf(checkpoints: readonly EvaluationResults[]): ScoreSeries[] {
  const series = new Map<string, [number, number][]>()
  for (const [i, { reports }] of checkpoints.entries()) {
    for (const { results, config, 'n-shot': shots } of reports) {
      const step = Number(/\d+(?!.*\d)/.exec(String(config.model_args))?.[0] ?? i)
      for (const [name, entry] of Object.entries(results)) {
        if (String(entry.alias).startsWith(' ')) continue
        const metric = ['acc_norm', 'acc', 'pct_stereotype'].find(key => `${key},none` in entry)
        const label = `${name} ${metric} (${shots[name]})`
        const points = series.get(label) ?? []
        points.push([step, Number(entry[`${metric},none`]) * 100])
        series.set(label, points)
      }
    }
  }
  return [...series].map(([label, points]) => ({ label, points }))
}
