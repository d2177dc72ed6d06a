import { Command, InvalidArgumentError, Option } from 'commander'
import {
  type DType,
  type MachineSpeed,
  machineInfo,
  measureMachine,
  type OpenELMConfig,
} from '../index.js'
import { formatBytes, formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import {
  type BenchPlan,
  type BenchTest,
  bytesPerToken,
  contextLengthFor,
  measureSpeed,
  promptOperations,
  quantile,
} from './measure-speed.js'
import { addOptions, integer, loadOptions, modelOption, namedModel } from './options.js'
import { print } from './output.js'
import { Progress } from './progress.js'
import { formatTable } from './table.js'

export const bench = new Command('bench')
  .description('measure how fast a model is, beside what the machine can do')
  .argument('[model]', 'the same as -m')
  .addOption(lengths('-p, --prompts <n,...>', 'lengths of prompts to process', [32, 128, 512]))
  .addOption(
    new Option('-n, --generated <n>', 'tokens to generate').argParser(integer(0)).default(128),
  )
  .addOption(lengths('-d, --depths <n,...>', 'lengths of contexts to generate 32 tokens after', []))
  .addOption(
    new Option('-r, --repetitions <n>', 'of each measurement').argParser(integer(1)).default(5),
  )
  .option('--json', 'print one JSON object with every repetition')
  .addHelpText(
    'after',
    `
pp512 processes a prompt of 512 tokens, tg128 generates 128 tokens. Both are also given as a share
of what this machine can do: multiply-adds in float32, and reading the weights for each token.

Example:
  $ openelm bench OpenELM-270M --dtype q8 --threads 2`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    const threads = options.threads ?? machineInfo().threads
    const result = await loadAndMeasure(namedModel(argument, options, command)!, options)
    // The measurement needs more memory than a small model: before, it would count in peakMemory.
    const machine = await measureMachine(threads)
    interruptSignal().throwIfAborted()
    if (options.json) console.log(JSON.stringify({ machine, threads, ...result }))
    else print(`${format(result, machine)}\n`)
  })

interface BenchResult {
  readonly dtype: DType
  readonly config: OpenELMConfig
  /** From the call of load until the model can be used. */
  readonly loadMs: number
  readonly tests: BenchTest[]
  /** Bytes that the engine allocated for weights. */
  readonly weightBytes: number
  /** The most physical memory that the process had, in bytes. */
  readonly peakMemory: number
}

/** Loads and measures a model. The progress bars are removed before the results are printed. */
async function loadAndMeasure(source: string, plan: BenchPlan): Promise<BenchResult> {
  const signal = interruptSignal()
  const start = performance.now()
  const contextLength = contextLengthFor(plan)
  await using model = await loadModel(source, { ...plan, contextLength }, signal)
  const loadMs = performance.now() - start
  using bar = new Progress('Measuring', formatCount, { timeLeft: true })
  const tests = await measureSpeed(model, plan, signal, bar.update)
  return {
    dtype: model.dtype,
    config: model.config,
    loadMs,
    tests,
    weightBytes: model.memory.weights,
    peakMemory: process.resourceUsage().maxRSS * 1024,
  }
}

// The context length follows from the lengths to measure.
const modelOptions = loadOptions.filter(option => option.attributeName() !== 'contextLength')
addOptions(bench, [modelOption, ...modelOptions])

function lengths(flags: string, description: string, fallback: number[]): Option {
  const parse = integer(1)
  return new Option(flags, description)
    .default(fallback, fallback.join(',') || 'none')
    .argParser(text => {
      if (text === '') throw new InvalidArgumentError('Expected lengths with commas between them.')
      return text.split(',').map(parse)
    })
}

function format(result: BenchResult, machine: MachineSpeed): string {
  const rows = result.tests.map(test => {
    const { tokensPerSecond: speeds } = test
    const range = `${speed(Math.min(...speeds))} - ${speed(Math.max(...speeds))}`
    return [test.name, speed(quantile(speeds, 0.5)), range, shareOf(test, result, machine)]
  })
  const tokenMs = result.tests.flatMap(test => test.tokenMs ?? [])
  const facts = [
    ['stored as', result.dtype],
    ['load', `${result.loadMs.toFixed(0)} ms`],
    ...(tokenMs.length > 0 ? [['time per token', describeTimes(tokenMs)]] : []),
    ['weights', formatBytes(result.weightBytes)],
    ['peak memory', formatBytes(result.peakMemory)],
    ['memory reads', `${(machine.readBandwidth / 1e9).toFixed(1)} GB/s`],
    ['multiply-adds', `${(machine.floatPeak / 1e9).toFixed(0)} GFLOP/s`],
  ]
  const table = formatTable(rows, ['test', 'tokens/s', 'range', 'share'])
  return `${table}\n\n${formatTable(facts, [], 2)}`
}

function speed(tokensPerSecond: number): string {
  return tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)
}

function describeTimes(tokenMs: readonly number[]): string {
  return `median ${quantile(tokenMs, 0.5).toFixed(2)} ms, p99 ${quantile(tokenMs, 0.99).toFixed(2)} ms`
}

/** The share of what the machine can do: of its multiply-adds for pp, of its memory bandwidth for tg. */
function shareOf(
  { name, tokensPerSecond }: BenchTest,
  { config, dtype }: BenchResult,
  { readBandwidth, floatPeak }: MachineSpeed,
): string {
  const speed = quantile(tokensPerSecond, 0.5)
  const prompt = /^pp(\d+)$/.exec(name)
  const share = prompt
    ? (promptOperations(config, Number(prompt[1])) * speed) / Number(prompt[1]) / floatPeak
    : (bytesPerToken(config, dtype) * speed) / readBandwidth
  return `${(100 * share).toFixed(0)}%`
}
