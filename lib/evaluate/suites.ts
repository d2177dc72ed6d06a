import { invalidArgument } from '../errors.js'
import type { MetricName, Task } from './task.js'
import { taskNames, tasksNamed } from './tasks.js'

/** A column of a table of the paper. */
export interface Column {
  readonly label: string
  /** The name of a task or a group. */
  readonly task: string
  readonly numFewshot: number
  readonly metric: MetricName
}

/** The tables of the paper, by the names of their suites. The average is the mean of the columns. */
export const suites: Readonly<Record<string, readonly Column[]>> = {
  'zero-shot': [
    column('ARC-c', 'arc_challenge', 0, 'acc_norm'),
    column('ARC-e', 'arc_easy', 0, 'acc_norm'),
    column('BoolQ', 'boolq', 0, 'acc'),
    column('HellaSwag', 'hellaswag', 0, 'acc_norm'),
    column('PIQA', 'piqa', 0, 'acc_norm'),
    column('SciQ', 'sciq', 0, 'acc'),
    column('WinoGrande', 'winogrande', 0, 'acc'),
  ],
  openllm: [
    column('ARC-c', 'arc_challenge', 25, 'acc_norm'),
    column('HellaSwag', 'hellaswag', 10, 'acc_norm'),
    column('MMLU', 'mmlu', 5, 'acc'),
    column('TruthfulQA', 'truthfulqa_mc2', 0, 'mc2'),
    column('WinoGrande', 'winogrande', 5, 'acc'),
  ],
  llm360: [
    column('ARC-c', 'arc_challenge', 25, 'acc_norm'),
    column('CrowS-Pairs', 'crows_pairs_english', 25, 'pct_stereotype'),
    column('HellaSwag', 'hellaswag', 10, 'acc_norm'),
    column('MMLU', 'mmlu', 5, 'acc'),
    column('PIQA', 'piqa', 0, 'acc_norm'),
    column('RACE', 'race', 0, 'acc'),
    column('TruthfulQA', 'truthfulqa_mc2', 0, 'mc2'),
    column('WinoGrande', 'winogrande', 5, 'acc'),
  ],
}

function column(label: string, task: string, numFewshot: number, metric: MetricName): Column {
  return { label, task, numFewshot, metric }
}

/** A task with its number of examples: what is scored at a time. */
export interface Run {
  readonly task: Task
  readonly numFewshot: number
}

/**
 * What is to be scored for the names of tasks, groups and suites, each once. A suite brings its own
 * numbers of examples, and so does a task that takes none.
 *
 * @returns nothing for a name that is unknown.
 */
function runsNamed(name: string, numFewshot: number): readonly Run[] | undefined {
  if (name === 'all') return Object.keys(suites).flatMap(suite => runsNamed(suite, 0)!)
  const suite = Object.hasOwn(suites, name) ? suites[name] : undefined
  if (suite) return suite.flatMap(({ task, numFewshot }) => runsNamed(task, numFewshot)!)
  return tasksNamed(name)?.map(task => ({ task, numFewshot: task.fewShot ? numFewshot : 0 }))
}

/**
 * What is to be scored for `options.tasks`, each once.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readRuns(names: readonly string[], numFewshot: number): Run[] {
  const runs = new Map<string, Run>()
  for (const [i, name] of names.entries()) {
    const named = runsNamed(name, numFewshot)
    if (!named) {
      const known = [...Object.keys(suites), 'all', ...taskNames].join(', ')
      throw invalidArgument(`options.tasks[${i}]`, `one of ${known}`, name)
    }
    for (const run of named) runs.set(`${run.task.name} ${run.numFewshot}`, run)
  }
  if (runs.size === 0) throw invalidArgument('options.tasks', 'at least one name', names)
  return [...runs.values()]
}
