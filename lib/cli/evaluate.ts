import { writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import {
  type DownloadOptions,
  downloadData,
  type EvaluateOptions,
  type EvaluationProgress,
  type EvaluationResults,
  type EvaluationSample,
  evaluate,
  listTasks,
  mergeResults,
  readResults,
  scorePlot,
  writeResults,
  writeSamples,
} from '../evaluate/index.js'
import type { OpenELM } from '../index.js'
import { formatResults, seriesOf, warningOf } from './evaluation-tables.js'
import { formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import { addOptions, loadOptions, modelOption, numeric } from './options.js'
import { note, print } from './output.js'
import { Progress } from './progress.js'
import { formatTable } from './table.js'
import { version } from './version.js'

export const evaluateCommand = new Command('evaluate')
  .description('score a model on the tasks of the paper')
  .argument('[results...]', 'files that --output wrote, for --merge and --plot')
  .option('--tasks <names>', 'tasks, groups and suites, as a,b,c (default: zero-shot)', names)
  .option('--data <dir>', "data sets, as on the hub (default: the cache of the hub's own tools)")
  .option('--download', 'download what is missing there')
  .addOption(numeric('--num-fewshot <n>', 'solved examples (default: 0; suites have their own)'))
  .addOption(numeric('--limit <n>', 'only the first n documents of each task'))
  .option('--output <file>', 'write the results as lm-evaluation-harness does')
  .option('--log-samples <dir>', 'write every request and its answer, a file for each task')
  .option('--answers <file>', 'keep answers here, to go on from (default: beside --output)')
  .option('--shard <i/n>', 'only the i-th of n parts of the documents', shard)
  .addOption(numeric('--sessions <n>', 'documents that are scored at a time (default: enough)'))
  .option('--json', 'print one JSON object')
  .option('--list', 'list the tasks, and which of their files are in --data')
  .option('--merge', 'put the results of all shards together')
  .option('--plot <svg>', 'draw the results of several checkpoints')
  .addHelpText(
    'after',
    `
Suites: zero-shot, openllm, llm360, and all of them as "all".

Examples:
  $ openelm evaluate -m apple/OpenELM-270M --tasks all --download --output results
  $ openelm evaluate -m OpenELM-1_1B --data data --dtype q8 --tasks arc_easy,mmlu --limit 100
  $ openelm evaluate -m OpenELM-3B --tasks openllm --shard 1/2 --output first
  $ openelm evaluate --merge first second --output whole
  $ openelm evaluate --plot progress.svg step-1000.json step-2000.json`,
  )
  .action(async (files: string[], options, command: Command) => {
    const readsFiles = options.merge || options.plot !== undefined
    if (readsFiles !== files.length > 0) {
      command.error('expected files of results with --merge or --plot, and only with them')
    }
    if (options.list) return print(await listOf(options.data))
    if (readsFiles) {
      const parts: EvaluationResults[] = []
      for (const file of files) parts.push(await readResults(file))
      if (options.plot) await writeFile(options.plot, scorePlot(seriesOf(parts)))
      if (!options.merge) return
      const results = mergeResults(parts)
      const model = String(results.reports[0]?.config.model_args)
      return await tell(results, model, options)
    }
    const signal = interruptSignal()
    const { output, answers = output && `${output}.answers.jsonl` } = options
    const { tasks = ['zero-shot'], data, numFewshot, limit, shard, sessions } = options
    if (options.download) await downloadWithBars({ tasks, data, numFewshot, signal })
    await using model = await loadModel(options.model, options, signal)
    const results = await evaluateWithBar(
      model,
      { tasks, data, numFewshot, limit, shard, sessions, answers, signal },
      options.logSamples,
    )
    const { adapters } = options
    const about = {
      dtype: model.dtype,
      device: model.device,
      model_args: options.model,
      ...(adapters && { adapters }),
    }
    await tell(withConfig(results, about), options.model, options)
  })
addOptions(evaluateCommand, [modelOption, ...loadOptions])

/** Prints the results, and writes them where --output asks for it. */
async function tell(
  results: EvaluationResults,
  model: string,
  { output, json }: { output?: string; json?: boolean },
): Promise<void> {
  const more = { git_hash: version, date: Date.now() / 1000 }
  if (output !== undefined) await writeResults(output, results, more)
  if (json) console.log(JSON.stringify({ reports: results.reports, suites: results.suites }))
  else print(formatResults(results, basename(model).replace(/@.*/, '')))
  const warning = warningOf(results)
  if (warning !== undefined) note(warning)
}

function withConfig(results: EvaluationResults, config: object): EvaluationResults {
  const reports = results.reports.map(report => {
    return { ...report, config: { ...report.config, ...config } }
  })
  return { ...results, reports }
}

/** Downloads with a progress bar for each data set. */
async function downloadWithBars(options: DownloadOptions): Promise<void> {
  const bars = new Map<string, Progress>()
  const close = () => {
    for (const bar of bars.values()) bar[Symbol.dispose]()
  }
  const onProgress = (done: number, total: number, repository: string) => {
    if (!bars.has(repository)) {
      close()
      bars.set(repository, new Progress(`Downloading ${repository}`, undefined, { timeLeft: true }))
    }
    bars.get(repository)!.update(done, total)
  }
  try {
    await downloadData({ ...options, onProgress })
  } finally {
    close()
  }
}

/** Evaluates with a progress bar for each task, which is removed before the results are printed. */
async function evaluateWithBar(
  model: OpenELM,
  options: EvaluateOptions,
  samplesFolder: string | undefined,
): Promise<EvaluationResults> {
  const evaluation = evaluate(model, options)
  let samples: EvaluationSample[] = []
  for (;;) {
    const first = await evaluation.next()
    if (first.done) return first.value
    const { task, numFewshot, run, numRuns } = first.value
    using bar = new Progress(`${task} (${run + 1} of ${numRuns})`, formatCount, { timeLeft: true })
    for (let progress: EvaluationProgress = first.value; ; ) {
      bar.update(progress.tokens, progress.totalTokens)
      if (samplesFolder !== undefined) samples.push(progress.sample)
      if (progress.documents === progress.totalDocuments) break
      const next = await evaluation.next()
      if (next.done) return next.value
      progress = next.value
    }
    if (samplesFolder !== undefined) await writeSamples(samplesFolder, task, numFewshot, samples)
    samples = []
  }
}

async function listOf(folder: string | undefined): Promise<string> {
  const tasks = await listTasks(folder)
  const isThere = (files: readonly string[]) => (files.length > 0 ? 'there' : 'missing')
  const rows = tasks.map(task => [
    task.name,
    [task.repository, task.config].filter(part => part !== undefined).join(' '),
    `${task.split} ${isThere(task.files)}`,
    task.fewShotSplit ? `${task.fewShotSplit} ${isThere(task.fewShotFiles)}` : '',
    formatCount(task.numDocuments),
  ])
  const head = ['task', 'data set', 'scored', 'examples', 'documents']
  return `${formatTable(rows, head, 4)}\n`
}

function names(text: string): string[] {
  return text.split(',')
}

function shard(text: string): { index: number; count: number } {
  const [, part, count] = /^(\d+)\/(\d+)$/.exec(text) ?? []
  const [index, total] = [Number(part) - 1, Number(count)]
  if (index >= 0 && index < total) return { index, count: total }
  throw new InvalidArgumentError('Expected a part and how many there are, as in 1/4.')
}
