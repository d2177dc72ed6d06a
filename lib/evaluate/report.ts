import { type Estimate, estimate, pool } from './aggregate.js'
import { isHigherBetter, resultName } from './metrics.js'
import type { Task } from './task.js'
import { type Group, groups, isGroup, taskNamed, tasksOf } from './tasks.js'

/** What the documents of a task scored at a number of examples: all that results are made of. */
export interface TaskScores {
  readonly task: string
  readonly numFewshot: number
  /** How many documents the split has. */
  readonly numDocuments: number
  /** The places in the split of those that were scored, in ascending order. */
  readonly documents: readonly number[]
  /** A value for each of `documents`, by the name of the metric in results. */
  readonly metrics: Readonly<Record<string, readonly number[]>>
  /** What chance would score of each of `documents`, 1 being everything. */
  readonly chances: readonly number[]
}

/** What lm-evaluation-harness writes of a task or a group: `acc,none`, `acc_stderr,none`, `alias`. */
export type ResultEntry = Readonly<Record<string, number | string>>

/** An object of the shape that lm-evaluation-harness writes to results.json. */
export interface EvaluationReport {
  readonly results: Readonly<Record<string, ResultEntry>>
  readonly groups?: Readonly<Record<string, ResultEntry>>
  readonly group_subtasks: Readonly<Record<string, readonly string[]>>
  readonly configs: Readonly<Record<string, object>>
  readonly versions: Readonly<Record<string, number>>
  readonly 'n-shot': Readonly<Record<string, number>>
  /** What a model without knowledge would score of a task or a group. Not of the harness. */
  readonly chance: Readonly<Record<string, number>>
  readonly higher_is_better: Readonly<Record<string, Readonly<Record<string, boolean>>>>
  /** Documents that the split has, and documents that were scored. */
  readonly 'n-samples': Readonly<Record<string, { original: number; effective: number }>>
  readonly config: Readonly<Record<string, unknown>>
}

type Estimates = Readonly<Record<string, Estimate>>

/** The report of runs of different tasks; groups of which every task is there have theirs, too. */
export function reportOf(
  scores: readonly TaskScores[],
  config: Readonly<Record<string, unknown>> = {},
): EvaluationReport {
  const estimates = new Map<string, Estimates>()
  const shots = new Map<string, number>()
  const chances = new Map<string, Estimate>()
  for (const { task, metrics, numFewshot, chances: values } of scores) {
    estimates.set(task, mapValues(metrics, estimate))
    chances.set(task, estimate(values))
    shots.set(task, numFewshot)
  }
  const whole = groups.flatMap(group => wholeGroups(group, new Set(shots.keys())))
  for (const group of whole.toReversed()) {
    const parts = group.parts.map(part => estimates.get(part.name)!)
    const names = Object.keys(parts[0]!)
    const pooled = names.map(name => [name, pool(parts.map(part => part[name]!))] as const)
    estimates.set(group.name, Object.fromEntries(pooled))
    chances.set(group.name, pool(group.parts.map(part => chances.get(part.name)!)))
    shots.set(group.name, shots.get(tasksOf(group)[0]!.name)!)
  }

  const members = inOrder(scores, whole)
  const entries = members.map(({ part, depth }) => {
    return [part.name, entryOf(estimates.get(part.name)!, aliasOf(part, depth))] as const
  })
  const results = Object.fromEntries(entries)
  const groupNames = new Set(whole.map(({ name }) => name))
  const tasks = scores.map(({ task }) => taskNamed(task))
  return {
    results,
    ...(whole.length > 0 && {
      groups: Object.fromEntries(entries.filter(([name]) => groupNames.has(name))),
    }),
    group_subtasks: Object.fromEntries(
      members
        .filter(({ part, depth }) => depth === 0 || isGroup(part))
        .map(({ part }) => [part.name, partNames(part)]),
    ),
    configs: Object.fromEntries(scores.map(run => [run.task, configOf(run)])),
    versions: Object.fromEntries(tasks.map(({ name, version }) => [name, version])),
    'n-shot': Object.fromEntries(members.map(({ part }) => [part.name, shots.get(part.name)!])),
    chance: Object.fromEntries(
      members.map(({ part }) => [part.name, chances.get(part.name)!.mean]),
    ),
    higher_is_better: Object.fromEntries(tasks.map(task => [task.name, directions(task)])),
    'n-samples': Object.fromEntries(
      scores.map(({ task, numDocuments, documents }) => {
        return [task, { original: numDocuments, effective: documents.length }]
      }),
    ),
    config,
  }
}

/** A group and those in it, from the outside in, of which every task is among `names`. */
function wholeGroups(group: Group, names: ReadonlySet<string>): Group[] {
  const inner = group.parts.filter(isGroup).flatMap(part => wholeGroups(part, names))
  return tasksOf(group).every(({ name }) => names.has(name)) ? [group, ...inner] : inner
}

interface Member {
  readonly part: Group | Task
  /** How many groups it is in. */
  readonly depth: number
}

/** Tasks in the order in which they were asked for, those of a group below it. */
function inOrder(scores: readonly TaskScores[], whole: readonly Group[]): Member[] {
  const members: Member[] = []
  const seen = new Set<string>()
  const add = (part: Group | Task, depth: number) => {
    if (seen.has(part.name)) return
    seen.add(part.name)
    members.push({ part, depth })
    if (isGroup(part)) for (const inner of part.parts) add(inner, depth + 1)
  }
  for (const { task } of scores) {
    const outermost = whole.find(group => tasksOf(group).some(({ name }) => name === task))
    add(outermost ?? taskNamed(task), 0)
  }
  return members
}

function entryOf(estimates: Estimates, alias: string): ResultEntry {
  const values = Object.entries(estimates).flatMap(([name, { mean, stderr }]) => [
    [`${name},none`, mean] as const,
    [`${name}_stderr,none`, stderr ?? 'N/A'] as const,
  ])
  return Object.fromEntries([...values, ['alias', alias]])
}

function aliasOf({ alias, name }: Group | Task, depth: number): string {
  return `${' '.repeat(depth)}${depth > 0 ? '- ' : ''}${alias ?? name}`
}

function partNames(part: Group | Task): string[] {
  return isGroup(part) ? part.parts.map(({ name }) => name) : []
}

function configOf({ task: name, numFewshot }: TaskScores): object {
  const { data, split, fewShot, description = '', delimiter, metrics, version } = taskNamed(name)
  return {
    task: name,
    dataset_path: data.repository,
    ...(data.config !== undefined && { dataset_name: data.config }),
    [`${split}_split`]: split,
    ...(fewShot && { fewshot_split: fewShot.split }),
    description,
    target_delimiter: delimiter,
    fewshot_delimiter: '\n\n',
    num_fewshot: numFewshot,
    metric_list: metrics.map(metric => ({
      metric: resultName(metric),
      aggregation: 'mean',
      higher_is_better: isHigherBetter[metric],
    })),
    output_type: 'multiple_choice',
    metadata: { version },
  }
}

function directions({ metrics }: Task): Record<string, boolean> {
  return Object.fromEntries(metrics.map(metric => [resultName(metric), isHigherBetter[metric]]))
}

function mapValues<From, To>(
  record: Readonly<Record<string, From>>,
  convert: (value: From) => To,
): Record<string, To> {
  const entries = Object.entries(record).map(([key, value]) => [key, convert(value)] as const)
  return Object.fromEntries(entries)
}
