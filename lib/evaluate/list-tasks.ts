import { dataFolder, findFiles } from './data-files.js'
import type { Split } from './task.js'
import { tasks } from './tasks.js'

/** A task, and what it reads. */
export interface TaskInfo {
  readonly name: string
  /** The data set of the Hugging Face hub, and its configuration. */
  readonly repository: string
  readonly config: string | undefined
  /** The split that is scored, and how many documents it had when the paper was written. */
  readonly split: Split
  readonly numDocuments: number
  /** The files of that split. */
  readonly files: readonly string[]
  /** Where examples come from, and the files of that; undefined for a task that takes none. */
  readonly fewShotSplit: Split | undefined
  readonly fewShotFiles: readonly string[]
}

/**
 * All tasks, with the files that {@link evaluate} would read.
 *
 * @param data as in {@link EvaluateOptions}.
 * @throws OpenELMError IO_ERROR
 */
export async function listTasks(data?: string): Promise<TaskInfo[]> {
  const folder = await dataFolder(data)
  const infos: TaskInfo[] = []
  for (const task of tasks) {
    const {
      name,
      data: { repository, config },
      split,
      numDocuments,
      fewShot,
    } = task
    infos.push({
      name,
      repository,
      config,
      split,
      numDocuments,
      files: await findFiles(folder, task, split),
      fewShotSplit: fewShot?.split,
      fewShotFiles: fewShot ? await findFiles(folder, task, fewShot.split) : [],
    })
  }
  return infos
}

/** How many documents of a task Apple scored; undefined for a name that is not a task's. */
export function numDocumentsOf(name: string): number | undefined {
  return tasks.find(task => task.name === name)?.numDocuments
}
