import { mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError, readDirectory, readJsonObject, writeWhole } from '../files.js'
import { parseJson } from '../strict-json.js'
import type { TaskScores } from './report.js'
import { type EvaluationResults, resultsOf } from './results.js'
import { isRecord } from './row.js'
import type { EvaluationSample } from './task-run.js'
import { tasksNamed } from './tasks.js'

const maxBytes = 2 ** 28

/**
 * Writes results as lm-evaluation-harness does, with the scores of all documents beside them: a file, or
 * a folder with a file for each number of examples where there are several.
 *
 * @param more what the report is to say beside that, for example of the environment.
 * @throws OpenELMError IO_ERROR
 */
export async function writeResults(
  output: string,
  { reports, scores, suites }: EvaluationResults,
  more: object = {},
): Promise<void> {
  const parts = reports.map(report => {
    const own = scores.filter(({ task }) => task in report.configs)
    const shots = report['n-shot'][own[0]!.task]!
    return { shots, report, scores: own.filter(({ numFewshot }) => numFewshot === shots) }
  })
  const [only, ...others] = parts
  if (only && others.length === 0) {
    await makeFolder(dirname(output))
    await writeJson(output, { ...only.report, ...more, suites, scores: only.scores })
    return
  }
  await makeFolder(output)
  for (const { shots, report, scores } of parts) {
    await writeJson(join(output, `results_${shots}shot.json`), { ...report, ...more, scores })
  }
  await writeJson(join(output, 'suites.json'), suites)
}

/**
 * Reads what {@link writeResults} wrote, a file or a folder.
 *
 * @throws OpenELMError IO_ERROR; INVALID_DATA for something else.
 */
export async function readResults(path: string): Promise<EvaluationResults> {
  const isFolder = await stat(path).then(
    stats => stats.isDirectory(),
    (cause: unknown) => {
      throw ioError('read', path, cause)
    },
  )
  if (!isFolder) return readResultFile(path)
  const names = (await readDirectory(path)).filter(name => /^results_\d+shot\.json$/.test(name))
  if (names.length === 0) {
    throw new OpenELMError('INVALID_DATA', `${path}: there is no results_<n>shot.json`)
  }
  const parts = await Promise.all(names.map(name => readResultFile(join(path, name))))
  const config = parts[0]!.reports[0]?.config
  return resultsOf(
    parts.flatMap(({ scores }) => scores),
    config,
  )
}

async function readResultFile(file: string): Promise<EvaluationResults> {
  const { scores, config } = await readJsonObject(file, maxBytes, 'INVALID_DATA', parseJson)
  if (!Array.isArray(scores) || scores.length === 0 || !scores.every(areScores)) {
    const message = `${file}: expected results of this package, with the scores of documents`
    throw new OpenELMError('INVALID_DATA', message)
  }
  return resultsOf(scores, isRecord(config) ? config : {})
}

function areScores(value: unknown): value is TaskScores {
  if (!isRecord(value) || !isRecord(value.metrics) || !isNumbers(value.documents)) return false
  const { documents, metrics, chances, task, numDocuments, numFewshot } = value
  return (
    isNumbers(chances) &&
    chances.length === documents.length &&
    typeof task === 'string' &&
    tasksNamed(task)?.length === 1 &&
    typeof numDocuments === 'number' &&
    typeof numFewshot === 'number' &&
    Object.values(metrics).every(values => isNumbers(values) && values.length === documents.length)
  )
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(part => typeof part === 'number')
}

/**
 * Writes the documents of a task as lines of JSON, in their order, to `samples_<task>_<n>shot.jsonl`.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function writeSamples(
  folder: string,
  task: string,
  numFewshot: number,
  samples: readonly EvaluationSample[],
): Promise<void> {
  await makeFolder(folder)
  const ordered = samples.toSorted((a, b) => a.doc_id - b.doc_id)
  await writeWhole(join(folder, `samples_${task}_${numFewshot}shot.jsonl`), linesFor(ordered))
}

/** One at a time, while the one before is written. */
function* linesFor(samples: readonly EvaluationSample[]): Generator<Uint8Array, void> {
  for (const sample of samples) yield Buffer.from(`${JSON.stringify(sample)}\n`)
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw ioError('write', folder, cause)
  })
}

async function writeJson(file: string, value: object): Promise<void> {
  await writeWhole(file, [Buffer.from(`${JSON.stringify(value)}\n`)])
}
