import { invalidArgument } from '../errors.js'
import type { Task } from './task.js'
import { arcChallenge, arcEasy } from './tasks/arc.js'
import { boolq } from './tasks/boolq.js'
import { crowsPairsEnglish } from './tasks/crows-pairs.js'
import { hellaswag } from './tasks/hellaswag.js'
import { llmAdapters } from './tasks/llm-adapters.js'
import { mmlu } from './tasks/mmlu.js'
import { piqa } from './tasks/piqa.js'
import { race } from './tasks/race.js'
import { sciq } from './tasks/sciq.js'
import { truthfulqaMc2 } from './tasks/truthfulqa-mc2.js'
import { winogrande } from './tasks/winogrande.js'

/** Tasks whose scores are also told as one, weighted by their documents. */
export interface Group {
  readonly name: string
  readonly alias: string
  readonly parts: readonly (Group | Task)[]
}

export const groups: readonly Group[] = [
  {
    name: 'mmlu',
    alias: 'mmlu',
    parts: Object.entries(mmlu).map(([name, parts]) => ({
      name,
      alias: name.slice('mmlu_'.length),
      parts,
    })),
  },
]

export const tasks: readonly Task[] = [
  arcChallenge,
  arcEasy,
  boolq,
  crowsPairsEnglish,
  hellaswag,
  ...Object.values(mmlu).flat(),
  piqa,
  race,
  sciq,
  truthfulqaMc2,
  winogrande,
  ...llmAdapters,
]

export function isGroup(part: Group | Task): part is Group {
  return 'parts' in part
}

export function tasksOf(part: Group | Task): readonly Task[] {
  return isGroup(part) ? part.parts.flatMap(tasksOf) : [part]
}

const byName = new Map<string, readonly Task[]>([
  ...tasks.map(task => [task.name, [task]] as const),
  ...groups.flatMap(group => [group, ...group.parts.filter(isGroup)]).map(named),
  ['llm_adapters', llmAdapters],
])

function named(group: Group): [string, readonly Task[]] {
  return [group.name, tasksOf(group)]
}

/** The names by which tasks can be asked for, without those of suites. */
export const taskNames: readonly string[] = [...byName.keys()]

/** The tasks of a task's name, or of a group's. */
export function tasksNamed(name: string): readonly Task[] | undefined {
  return byName.get(name)
}

/** @throws OpenELMError INVALID_ARGUMENT */
export function taskNamed(name: string): Task {
  const [task, ...others] = byName.get(name) ?? []
  if (task && others.length === 0) return task
  throw invalidArgument('task', 'the name of a task', name)
}
