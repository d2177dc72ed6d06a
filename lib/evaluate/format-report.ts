import type { EvaluationReport } from './report.js'

type Cell = string

const head = ['Tasks', 'Version', 'Filter', 'n-shot', 'Metric', 'Value', '', 'Stderr', 'Chance']
const isRight = [false, true, false, true, false, true, false, true, true]

/**
 * The tables that lm-evaluation-harness prints of its results, in Markdown: of all, and of groups. One
 * column is ours: what chance would score.
 */
export function formatReport(report: EvaluationReport): string {
  const tables = [table(report, Object.keys(report.results), 'Tasks')]
  if (report.groups) tables.push(table(report, Object.keys(report.groups), 'Groups'))
  return tables.join('\n')
}

function table(report: EvaluationReport, names: readonly string[], title: string): string {
  const rows = names.flatMap(name => rowsOf(report, name))
  const titles = [title, ...head.slice(1)]
  const widths = titles.map((cell, i) => {
    return Math.max(3, cell.length, ...rows.map(row => row[i]!.length))
  })
  const lines = [
    titles.map((cell, i) => center(cell, widths[i]!)),
    widths.map((width, i) => (isRight[i] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))),
    ...rows.map(row => row.map((cell, i) => pad(cell, widths[i]!, isRight[i]!))),
  ]
  return lines.map(cells => `|${cells.join('|')}|\n`).join('')
}

/** A row for each metric, of which the first has the name. */
function rowsOf(report: EvaluationReport, name: string): Cell[][] {
  const entry = report.results[name]!
  const metrics = Object.keys(entry).filter(
    key => key.endsWith(',none') && !key.includes('_stderr'),
  )
  return metrics.map((key, i) => {
    const metric = key.slice(0, -',none'.length)
    const [value, stderr] = [entry[key]!, entry[`${metric}_stderr,none`]!].map(decimals)
    const version = report.versions[name]
    const first = [String(entry.alias), version === undefined ? 'N/A' : String(version)]
    const shots = String(report['n-shot'][name])
    const chance = metric === 'likelihood_diff' ? '' : decimals(report.chance[name]!)
    return [...(i === 0 ? first : ['', '']), 'none', shots, metric, value!, '±', stderr!, chance]
  })
}

function decimals(value: number | string): string {
  return typeof value === 'number' ? value.toFixed(4) : value
}

function center(text: string, width: number): string {
  const left = Math.floor((width - text.length) / 2)
  return text.padStart(text.length + left).padEnd(width)
}

function pad(text: string, width: number, right: boolean): string {
  return right ? text.padStart(width) : text.padEnd(width)
}
