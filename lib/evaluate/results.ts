import { OpenELMError } from '../errors.js'
import { resultName } from './metrics.js'
import { type EvaluationReport, reportOf, type TaskScores } from './report.js'
import { type Column, suites } from './suites.js'

/** What an evaluation found. */
export interface EvaluationResults {
  /** A report for each number of examples, the smallest first. */
  readonly reports: readonly EvaluationReport[]
  /** The tables of the paper of which every column was evaluated, by the names of their suites. */
  readonly suites: Readonly<Record<string, SuiteScores>>
  /** What the documents scored, of which all else is made. */
  readonly scores: readonly TaskScores[]
}

/** A row of a table of the paper, in percent. */
export interface SuiteScores {
  readonly columns: Readonly<Record<string, number>>
  /** The mean of the columns. */
  readonly average: number
}

export function resultsOf(
  scores: readonly TaskScores[],
  config: Readonly<Record<string, unknown>> = {},
): EvaluationResults {
  const shots = [...new Set(scores.map(({ numFewshot }) => numFewshot))].toSorted((a, b) => a - b)
  const reports = shots.map(count => {
    return reportOf(
      scores.filter(({ numFewshot }) => numFewshot === count),
      config,
    )
  })
  const rows = Object.entries(suites).flatMap(([name, columns]) => {
    const row = suiteScores(columns, reports, shots)
    return row ? [[name, row] as const] : []
  })
  return { reports, suites: Object.fromEntries(rows), scores }
}

function suiteScores(
  columns: readonly Column[],
  reports: readonly EvaluationReport[],
  shots: readonly number[],
): SuiteScores | undefined {
  const values = columns.map(({ task, numFewshot, metric }) => {
    const value = reports[shots.indexOf(numFewshot)]?.results[task]?.[`${resultName(metric)},none`]
    return typeof value === 'number' ? value * 100 : Number.NaN
  })
  if (values.some(Number.isNaN)) return undefined
  return {
    columns: Object.fromEntries(columns.map(({ label }, i) => [label, values[i]!])),
    average: values.reduce((sum, value) => sum + value, 0) / values.length,
  }
}

/**
 * Puts the results of shards together: what comes of them is what one evaluation would have found, to
 * the last bit.
 *
 * @param parts of the same tasks, each document in one of them.
 * @throws OpenELMError INVALID_ARGUMENT when they do not fit together.
 */
export function mergeResults(parts: readonly EvaluationResults[]): EvaluationResults {
  const byRun = new Map<string, TaskScores[]>()
  for (const scores of parts.flatMap(({ scores }) => scores)) {
    const name = nameOf(scores)
    byRun.set(name, [...(byRun.get(name) ?? []), scores])
  }
  const config = parts[0]?.reports[0]?.config
  return resultsOf([...byRun.values()].map(mergeScores), config)
}

function mergeScores(parts: readonly TaskScores[]): TaskScores {
  const [first] = parts as [TaskScores]
  const places = parts.flatMap(({ documents, metrics, chances, numDocuments }) => {
    if (numDocuments !== first.numDocuments) {
      const sizes = `${first.numDocuments} and ${numDocuments}`
      throw new OpenELMError('INVALID_ARGUMENT', `${nameOf(first)}: parts of ${sizes} documents`)
    }
    return documents.map((document, i) => ({ document, metrics, chances, i }))
  })
  const ordered = places.toSorted((a, b) => a.document - b.document)
  const wrong = ordered.findIndex(({ document }, i) => document !== i)
  if (wrong >= 0) {
    const isTwice = ordered[wrong]!.document < wrong
    throw new OpenELMError(
      'INVALID_ARGUMENT',
      `${nameOf(first)}: document ${isTwice ? wrong - 1 : wrong} is ${isTwice ? 'in two parts' : 'missing'}`,
    )
  }
  const names = Object.keys(first.metrics)
  return {
    ...first,
    documents: ordered.map(({ document }) => document),
    metrics: Object.fromEntries(
      names.map(name => [name, ordered.map(({ metrics, i }) => metrics[name]![i]!)]),
    ),
    chances: ordered.map(({ chances, i }) => chances[i]!),
  }
}

function nameOf({ task, numFewshot }: TaskScores): string {
  return `${task} with ${numFewshot} examples`
}
