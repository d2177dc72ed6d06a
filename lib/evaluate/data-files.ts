import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'
import { finishInSlices, type Steps } from '../steps.js'
import { itemsOf, linesOf } from './json-parts.js'
import { readParquet } from './parquet.js'
import { isRecord, Row } from './row.js'
import type { DataSet, Split, Task } from './task.js'

const extensions = ['.jsonl', '.json', '.parquet'] as const

/**
 * The rows of a split of a task, in the order of its files.
 *
 * @param folder holds the repositories of data sets under their names (`ai2_arc`, or
 *   `allenai/ai2_arc`), or folders with the names of tasks.
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
  if (files.length === 0) throw new OpenELMError('IO_ERROR', missing(folder, task, split))
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

/** The files of a split, in the order of their names: those of the first folder that has any. */
export async function findFiles(folder: string, task: Task, split: Split): Promise<string[]> {
  for (const { directory, name } of placesOf(folder, task, split)) {
    const entries = await namesIn(directory)
    for (const extension of extensions) {
      const found = entries.filter(entry => extname(entry) === extension && name.test(entry))
      if (found.length > 0) return found.toSorted().map(entry => join(directory, entry))
    }
  }
  return []
}

function missing(folder: string, { name, data }: Task, split: Split): string {
  const { repository, config = 'data', filePrefix = '' } = data
  const file = `${filePrefix}${split}-00000-of-00001.parquet`
  const place = join(folder, repositoryName(data), config, file)
  return (
    `there is no ${split} split of ${name} in ${folder}: expected ${repository} of the Hugging Face ` +
    `hub, for example ${place}, or ${join(folder, name, `${split}.jsonl`)}`
  )
}

interface Place {
  readonly directory: string
  /** Which files of it hold the split. */
  readonly name: RegExp
}

/** Where a split may be: in the layouts of the hub, and in a folder of the task's own. */
function* placesOf(folder: string, task: Task, split: Split): Generator<Place> {
  const { data, name: taskName } = task
  const { repository, config = 'default', filePrefix = '', only } = data
  const name = new RegExp(`^(${filePrefix})?${split}(-\\d+-of-\\d+)?\\.`)
  const repositoryFolders = [repository, repository.replace('/', '--'), repositoryName(data)]
  for (const root of [taskName, ...repositoryFolders].map(part => join(folder, part))) {
    // Under refs/convert/parquet a split is a folder.
    yield { directory: join(root, config, split), name: /^\d+\./ }
    for (const part of [config, join('dataset', config), 'data', ...(only ? ['all'] : []), '']) {
      yield { directory: join(root, part), name }
    }
  }
  yield { directory: folder, name: new RegExp(`^${taskName}\\.${split}\\.`) }
}

function repositoryName({ repository }: DataSet): string {
  return repository.slice(repository.indexOf('/') + 1)
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw ioError('read', directory, cause)
  }
}

async function readFileRows(file: string, signal: AbortSignal | undefined): Promise<Row[]> {
  if (extname(file) === '.parquet') return (await readParquet(file, signal)).map(numbered(file))
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw ioError('read', file, cause)
  })
  const parts = extname(file) === '.jsonl' ? linesOf(bytes) : itemsOf(bytes, file)
  return await finishInSlices(parseRows(parts, file), signal)
}

function* parseRows(parts: Iterable<Uint8Array>, file: string): Steps<Row[]> {
  const toRow = numbered(file)
  const rows: Row[] = []
  for (const part of parts) {
    const place = `${file}: row ${rows.length + 1}`
    rows.push(toRow(parse(decode(part, place), place), rows.length))
    yield ''
  }
  return rows
}

function numbered(file: string): (values: unknown, index: number) => Row {
  return (values, index) => {
    const place = `${file}: row ${index + 1}`
    if (isRecord(values)) return new Row(values, place)
    throw new OpenELMError('INVALID_DATA', `${place}: expected a JSON object`)
  }
}

function parse(json: string, place: string): unknown {
  try {
    return JSON.parse(json)
  } catch (cause) {
    const message = `${place}: malformed JSON: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_DATA', message, { cause })
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function decode(bytes: Uint8Array, place: string): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw new OpenELMError('INVALID_DATA', `${place}: invalid UTF-8`, { cause })
  }
}
