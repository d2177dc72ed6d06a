import { readFile } from 'node:fs/promises'
import { extname, join, posix } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError, readDirectory } from '../files.js'
import { hubSettings } from '../hub/settings.js'
import { CachedRepository, type RepositoryName } from '../hub/snapshot.js'
import { itemsOf, linesOf, parseRow } from '../json-parts.js'
import { finishInSlices, type Steps } from '../steps.js'
import { readParquet } from './parquet.js'
import { Row } from './row.js'
import type { DataSet, Split, Task } from './task.js'

const extensions = ['.jsonl', '.json', '.parquet'] as const

/**
 * The rows of a split of a task, in the order of its files.
 *
 * @param folder holds the repositories of data sets under their names (`ai2_arc`, or
 *   `allenai/ai2_arc`), or folders with the names of tasks; or it is a cache of the hub.
 * @throws OpenELMError IO_ERROR when there is no file of it, INVALID_DATA when one is malformed, or they
 *   hold no row; DEPENDENCY_NOT_FOUND.
 */
export async function readRows(
  folder: string,
  task: Task,
  split: Split,
  signal?: AbortSignal,
): Promise<Row[]> {
  const files = await findFiles(folder, task, split)
  if (files.length === 0) throw missing(folder, task, split)
  const rows: Row[] = []
  for (const file of files) {
    for (const row of await readFileRows(file, signal)) if (isOf(task.data, row)) rows.push(row)
  }
  if (rows.length > 0) return rows
  throw new OpenELMError('INVALID_DATA', `${files.join(', ')}: no document of ${task.name}`)
}

/** A file of one configuration may leave the column out that others are told by. */
function isOf({ only }: DataSet, { values }: Row): boolean {
  if (!only) return true
  const [column, value] = only
  return (values[column] ?? value) === value
}

/** Where data sets are unless the caller says it: where Hugging Face's own tools keep them. */
export async function dataFolder(given: string | undefined): Promise<string> {
  return given ?? (await hubSettings({})).cacheDir
}

/** The files of a split, in the order of their names: those of the first folder that has any. */
export async function findFiles(folder: string, task: Task, split: Split): Promise<string[]> {
  for (const root of await rootsOf(folder, task)) {
    const files = await filesIn(task, split, directory => namesIn(join(root, directory)))
    if (files.length > 0) return files.map(file => join(root, file))
  }
  const own = new RegExp(`^${task.name}\\.${split}\\.`)
  return filesNamed(own, await namesIn(folder)).map(file => join(folder, file))
}

/** Which of the files of a repository hold a split, in the order of their names. */
export function chooseFiles(task: Task, split: Split, files: readonly string[]): Promise<string[]> {
  return filesIn(task, split, async directory => {
    const inside = files.filter(file => posix.dirname(file) === posix.normalize(directory))
    return inside.map(file => posix.basename(file))
  })
}

/** An error that says that there is no file of a split, and where one is expected. */
export function missing(
  folder: string,
  { name, data }: Task,
  split: Split,
  more = '',
): OpenELMError {
  const { repository, config = 'data', filePrefix = '', host = 'the Hugging Face hub' } = data
  const hubFile = join(config, `${filePrefix}${split}-00000-of-00001.parquet`)
  const file = host === 'GitHub' ? join('dataset', config, `${split}.json`) : hubFile
  const place = join(folder, repositoryName(data), file)
  return new OpenELMError(
    'IO_ERROR',
    `there is no ${split} split of ${name} in ${folder}: expected ${repository} of ${host}, for ` +
      `example ${place}, or ${join(folder, name, `${split}.jsonl`)}${more}`,
  )
}

/** The folders that may hold the repository of a task, and what a hub's cache has of it. */
async function rootsOf(folder: string, { name, data }: Task): Promise<string[]> {
  const { repository } = data
  const names = [name, repository, repository.replace('/', '--'), repositoryName(data)]
  const cached = new CachedRepository(folder, dataSetName(data))
  const commit = await cached.commit()
  return [
    ...names.map(part => join(folder, part)),
    ...(commit === undefined ? [] : [cached.snapshot(commit)]),
  ]
}

/** A data set of the hub, as it is now. */
export function dataSetName({ repository }: DataSet): RepositoryName {
  return { type: 'dataset', repository, revision: 'main' }
}

/** The files of the first place in a repository that has any. */
async function filesIn(
  { data }: Task,
  split: Split,
  list: (directory: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const { config = 'default', filePrefix = '', only } = data
  const name = new RegExp(`^(${filePrefix})?${split}(-\\d+-of-\\d+)?\\.`)
  const directories = [config, `dataset/${config}`, 'data', ...(only ? ['all'] : []), '.']
  const places = [
    // Under refs/convert/parquet a split is a folder.
    { directory: `${config}/${split}`, name: /^\d+\./ },
    ...directories.map(directory => ({ directory, name })),
  ]
  for (const { directory, name } of places) {
    const found = filesNamed(name, await list(directory))
    if (found.length > 0) return found.map(file => posix.join(directory, file))
  }
  return []
}

/** Those of the first kind that there are any of; none where some of `-00000-of-00002` are missing. */
function filesNamed(name: RegExp, files: readonly string[]): string[] {
  const fitting = files.filter(file => name.test(file))
  const extension = extensions.find(kind => fitting.some(file => extname(file) === kind))
  const found = fitting.filter(file => extname(file) === extension).toSorted()
  const [, count = found.length] = /-of-(\d+)\./.exec(found[0] ?? '') ?? []
  return Number(count) === found.length ? found : []
}

function repositoryName({ repository }: DataSet): string {
  return repository.slice(repository.indexOf('/') + 1)
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readDirectory(directory)
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw ioError('read', directory, cause)
  }
}

async function readFileRows(file: string, signal: AbortSignal | undefined): Promise<Row[]> {
  if (extname(file) === '.parquet') {
    const documents = await readParquet(file, signal)
    return documents.map((values, index) => new Row(values, placeOf(file, index)))
  }
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw ioError('read', file, cause)
  })
  const parts = extname(file) === '.jsonl' ? linesOf(bytes) : itemsOf(bytes, file)
  return await finishInSlices(parseRows(parts, file), signal)
}

function* parseRows(parts: Iterable<Uint8Array>, file: string): Steps<Row[]> {
  const rows: Row[] = []
  for (const part of parts) {
    const place = placeOf(file, rows.length)
    rows.push(new Row(parseRow(part, place), place))
    yield ''
  }
  return rows
}

function placeOf(file: string, index: number): string {
  return `${file}: row ${index + 1}`
}
