import { invalidArgument } from '../errors.js'
import { OpenELM } from '../model.js'
import {
  abortSignal,
  arrayOf,
  integer,
  optional,
  path,
  type RulesOf,
  readOptions,
  string,
} from '../options.js'
import { AnswersFile } from './answers-file.js'
import { dataFolder, readRows } from './data-files.js'
import { fingerprintOf } from './fingerprint.js'
import { resultName } from './metrics.js'
import type { TaskScores } from './report.js'
import { type EvaluationResults, resultsOf } from './results.js'
import { type Run, readRuns } from './suites.js'
import { type EvaluationSample, TaskRun } from './task-run.js'

/** Options of {@link evaluate}. */
export interface EvaluateOptions {
  /** Names of tasks, of groups (`mmlu`) and of suites (`zero-shot`, `openllm`, `llm360`, `all`). */
  readonly tasks: readonly string[]
  /**
   * The folder with the data sets, as the Hugging Face hub has them: repositories under their names, or
   * `<task>/<split>.jsonl`. Default the cache of Hugging Face's own tools, which is such a folder, too.
   */
  readonly data?: string | undefined
  /** Solved examples in front of each question. Suites have their own numbers. Default 0. */
  readonly numFewshot?: number | undefined
  /** Only the first documents of each task. Default all. */
  readonly limit?: number | undefined
  /** Only a part of the documents, for {@link mergeResults}: `index` from 0 to `count` - 1. */
  readonly shard?: { readonly index: number; readonly count: number } | undefined
  /**
   * A file that answers are written to as they come. Those that it holds already, of the same model and
   * the same requests, are not computed again.
   */
  readonly answers?: string | undefined
  /**
   * Documents that are scored at a time, each in a session. No result depends on it. Default as many as
   * keep the batches full, from 4 to 32.
   */
  readonly sessions?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** That a document is finished. */
export interface EvaluationProgress {
  readonly task: string
  readonly numFewshot: number
  /** Which of the tasks, from 0, and how many there are. */
  readonly run: number
  readonly numRuns: number
  /** Documents of this task that are finished, and those that there are. */
  readonly documents: number
  readonly totalDocuments: number
  /** Tokens of their requests. */
  readonly tokens: number
  readonly totalTokens: number
  readonly sample: EvaluationSample
}

/**
 * Scores a model on tasks of lm-evaluation-harness, as that does at the version by which OpenELM was
 * measured. Yields each document when it is finished, the longest ones of a task first, and returns the
 * results, which are the same for any number of sessions or shards, and after any interruption.
 *
 * Leaving the generator ends the work.
 *
 * @throws OpenELMError INVALID_ARGUMENT, IO_ERROR, INVALID_DATA, DEPENDENCY_NOT_FOUND for Parquet files
 *   without `hyparquet`; OUT_OF_MEMORY, NON_FINITE_LOGITS, INVALID_TOKENIZER, DISPOSED; or the reason of
 *   `options.signal`.
 */
export function evaluate(
  model: OpenELM,
  options: EvaluateOptions,
): AsyncGenerator<EvaluationProgress, EvaluationResults> {
  if (!(model instanceof OpenELM)) throw invalidArgument('model', 'an OpenELM', model)
  const settings = readOptions(options, rules)
  return run(model, settings, readRuns(settings.tasks, settings.numFewshot))
}

const rules = {
  tasks: arrayOf(string),
  data: optional(path),
  numFewshot: optional(integer(0), 0),
  limit: optional(integer(1)),
  shard: optional(readShard, { index: 0, count: 1 }),
  answers: optional(path),
  sessions: optional(integer(1, 64)),
  signal: optional(abortSignal),
} satisfies RulesOf<EvaluateOptions>

type Settings = ReturnType<typeof readOptions<typeof rules>>

function readShard(name: string, value: unknown) {
  const { index, count } = readOptions(value, { index: integer(0), count: integer(1) }, name)
  return { index: integer(0, count - 1)(`${name}.index`, index), count }
}

async function* run(
  model: OpenELM,
  settings: Settings,
  runs: readonly Run[],
): AsyncGenerator<EvaluationProgress, EvaluationResults> {
  const { answers: file, limit, signal } = settings
  const data = await dataFolder(settings.data)
  using answers = file === undefined ? undefined : await AnswersFile.open(file, signal)
  const known = answers && { answers, fingerprint: await fingerprintOf(model, signal) }
  const scores: TaskScores[] = []
  for (const [i, { task, numFewshot }] of runs.entries()) {
    const rows = await readRows(data, task, task.split, signal)
    const work = new TaskRun(model, { task, numFewshot }, { ...settings, data })
    const documents = await work.prepare(rows)
    const finished: { sample: EvaluationSample; chance: number }[] = []
    const totalTokens = documents.reduce((sum, document) => sum + document.numTokens, 0)
    let tokens = 0
    for await (const { numTokens, sample, chance } of work.score(documents, known)) {
      finished.push({ sample, chance })
      tokens += numTokens
      yield {
        task: task.name,
        numFewshot,
        run: i,
        numRuns: runs.length,
        documents: finished.length,
        totalDocuments: documents.length,
        tokens,
        totalTokens,
        sample,
      }
    }
    finished.sort((a, b) => a.sample.doc_id - b.sample.doc_id)
    const valuesOf = (name: string) => finished.map(({ sample }) => sample[name] as number)
    scores.push({
      task: task.name,
      numFewshot,
      numDocuments: rows.length,
      documents: finished.map(({ sample }) => sample.doc_id),
      metrics: Object.fromEntries(
        task.metrics.map(resultName).map(name => [name, valuesOf(name)] as const),
      ),
      chances: finished.map(({ chance }) => chance),
    })
  }
  return resultsOf(scores, { model: 'openelm', limit: limit ?? null })
}
