import { extname } from 'node:path'
import { pullFiles } from '../hub/pull-files.js'
import { type HubSettings, hubSettings } from '../hub/settings.js'
import { CachedRepository } from '../hub/snapshot.js'
import {
  abortSignal,
  arrayOf,
  callback,
  integer,
  optional,
  path,
  type RulesOf,
  readOptions,
  string,
} from '../options.js'
import { chooseFiles, dataFolder, dataSetName, findFiles, missing } from './data-files.js'
import type { EvaluateOptions } from './evaluate.js'
import { importHyparquet } from './parquet.js'
import { readRuns } from './suites.js'
import type { Split, Task } from './task.js'

/** Options of {@link downloadData}: what is to be evaluated, as in {@link EvaluateOptions}. */
export interface DownloadOptions
  extends Pick<EvaluateOptions, 'tasks' | 'numFewshot' | 'data' | 'signal'> {
  /** Called with the bytes that are there and those of all files that a data set lacked. */
  readonly onProgress?:
    | ((doneBytes: number, totalBytes: number, repository: string) => void)
    | undefined
}

const rules = {
  tasks: arrayOf(string),
  numFewshot: optional(integer(0), 0),
  data: optional(path),
  signal: optional(abortSignal),
  onProgress: optional(callback<NonNullable<DownloadOptions['onProgress']>>()),
} satisfies RulesOf<DownloadOptions>

/** A part of a data set that {@link evaluate} reads. */
interface Part {
  readonly task: Task
  readonly split: Split
}

/**
 * Downloads what {@link evaluate} would not find from the data sets of the Hugging Face hub, as `pull`
 * does models: into a cache that Hugging Face's own tools share, and with their environment variables.
 * What is there costs no request.
 *
 * @throws OpenELMError IO_ERROR for a data set that the hub has not, or when the network must not be used;
 *   DEPENDENCY_NOT_FOUND without `hyparquet`; ACCESS_DENIED, DOWNLOAD_FAILED, CORRUPT_DOWNLOAD,
 *   INVALID_ARGUMENT; or the reason of `options.signal`.
 */
export async function downloadData(options: DownloadOptions): Promise<void> {
  const { tasks, numFewshot, data, signal, onProgress } = readOptions(options, rules)
  const folder = await dataFolder(data)
  const lacking = new Map<string, Part[]>()
  for (const run of readRuns(tasks, numFewshot)) {
    const { task } = run
    const examples = run.numFewshot > 0 ? task.fewShot?.split : undefined
    for (const split of new Set([task.split, examples ?? task.split])) {
      if ((await findFiles(folder, task, split)).length > 0) continue
      const { repository, host } = task.data
      if (host === 'GitHub') throw missing(folder, task, split)
      lacking.set(repository, [...(lacking.get(repository) ?? []), { task, split }])
    }
  }
  const settings = await hubSettings({ cacheDir: folder })
  for (const [repository, parts] of lacking) {
    const report =
      onProgress && ((done: number, total: number) => onProgress(done, total, repository))
    await pullParts(settings, parts, { signal, onProgress: report })
  }
}

async function pullParts(
  settings: HubSettings,
  parts: readonly Part[],
  options: Parameters<typeof pullFiles>[3],
): Promise<void> {
  const { cacheDir, offline } = settings
  const [{ task, split }] = parts as [Part]
  if (offline) throw missing(cacheDir, task, split, '; and the network is not to be used')
  const name = dataSetName(task.data)
  const choose = async (files: readonly string[]) => {
    const chosen: string[] = []
    for (const { task, split } of parts) {
      const found = await chooseFiles(task, split, files)
      if (found.length === 0) throw missing(cacheDir, task, split, '; the hub has none')
      chosen.push(...found)
    }
    const parquet = chosen.find(file => extname(file) === '.parquet')
    if (parquet !== undefined) await importHyparquet(parquet)
    return [...new Set(chosen)]
  }
  // What is there already stays, and the rest must be of the same commit.
  const revision = (await new CachedRepository(cacheDir, name).commit()) ?? name.revision
  await pullFiles(settings, { ...name, revision }, choose, options)
}
