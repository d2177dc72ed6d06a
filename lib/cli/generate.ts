import { Command, Option } from 'commander'
import { checkGenerateOptions, type GenerateChunk, type GenerateResult } from '../index.js'
import { draftModelOption, draftOptions, loadDraftModel } from './draft-options.js'
import { readInput } from './input.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import {
  addOptions,
  loadOptions,
  modelOption,
  numeric,
  pick,
  renamed,
  samplerOptions,
} from './options.js'
import { note, print } from './output.js'
import { Waiting } from './waiting.js'

const generateOptions = [
  numeric('--max-tokens <n>', 'end after n tokens (default: 256)'),
  renamed(
    new Option('--stop <text>', 'end before this text; may be repeated').argParser(collect),
    'stopSequences',
  ),
  renamed(
    new Option(
      '--json-schema <schema>',
      'answer with JSON that fits a schema: a file, or {…} itself',
    ),
    'responseConstraint',
  ),
  new Option('--ignore-eos', 'go on where the model would end the text'),
  ...samplerOptions,
  ...draftOptions,
  numeric('--logprobs <n>', 'with --json, print the n likeliest tokens at each place', 'Sampling:'),
]

export const generate = new Command('generate')
  .description('continue a text')
  .argument('[prompt]', 'the text (default: standard input)')
  .option('--prompt-file <file>', 'a file with the text')
  .option('--json', 'print one JSON object, at the end')
  .option('--verbose', 'print speeds on standard error')
  .addHelpText(
    'after',
    `
One newline at the end of standard input or of a file is left out.

Examples:
  $ openelm generate -m OpenELM-270M "Once upon a time there was"
  $ openelm generate -m OpenELM-3B --temperature 0.8 --top-p 0.95 --prompt-file story.txt
  $ git log -1 | openelm generate -m OpenELM-1_1B --json --logprobs 5
  $ openelm generate --json-schema '{"enum": ["yes", "no"]}' "Is it raining? Answer:"`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    if (argument !== undefined && options.promptFile !== undefined) {
      command.error('expected either a prompt or --prompt-file')
    }
    if (options.logprobs > 0 && !options.json) command.error('--logprobs needs --json')
    const { responseConstraint: schema } = options
    const responseConstraint = schema === undefined ? undefined : await readSchema(schema, command)
    const generating = { ...pick(options, generateOptions), responseConstraint }
    checkGenerateOptions(generating)

    const prompt = await readPrompt(argument, options.promptFile)
    if (prompt === undefined) {
      return command.error('expected a prompt, --prompt-file, or text on standard input')
    }
    const signal = interruptSignal()
    await using model = await loadModel(options.model, options, signal)
    await using draftModel = await loadDraftModel(options, signal)
    const chunks = model.stream(prompt, { ...generating, draftModel, signal })
    const result = options.json ? await printJson(chunks) : await printText(chunks)
    if (options.verbose) note(describeSpeed(result))
  })
addOptions(generate, [modelOption, draftModelOption, ...loadOptions, ...generateOptions])

function collect(text: string, before: string[] = []): string[] {
  return [...before, text]
}

/** A schema of a text that is JSON already, or of a file. */
async function readSchema(textOrFile: string, command: Command): Promise<object> {
  const text = /^\s*\{/.test(textOrFile) ? textOrFile : ((await readInput(textOrFile)) ?? '')
  try {
    return JSON.parse(text)
  } catch (error) {
    return command.error(`--json-schema is not JSON: ${(error as Error).message}`)
  }
}

async function readPrompt(argument: string | undefined, file: string | undefined) {
  if (argument !== undefined && argument !== '-') return argument
  return (await readInput(argument ?? file))?.replace(/\r?\n$/, '')
}

type Chunks = AsyncGenerator<GenerateChunk, GenerateResult>

/** Prints the text as it is generated, and a newline, also where an error or a signal ends it early. */
async function printText(chunks: Chunks): Promise<GenerateResult> {
  let hasText = false
  try {
    const result = await forEach(chunks, chunk => {
      print(chunk.text)
      hasText = true
    })
    hasText = true
    return result
  } finally {
    if (hasText) process.stdout.write('\n')
  }
}

async function printJson(chunks: Chunks): Promise<GenerateResult> {
  const logprobs: GenerateChunk[] = []
  const result = await forEach(chunks, chunk => logprobs.push(chunk))
  console.log(JSON.stringify({ ...result, ...(logprobs[0]?.topLogprobs && { logprobs }) }))
  return result
}

/** Calls `visit` with each chunk and returns the result, which `for await` would drop. */
async function forEach(chunks: Chunks, visit: (chunk: GenerateChunk) => void) {
  let step = await firstOf(chunks)
  for (; !step.done; step = await chunks.next()) visit(step.value)
  return step.value
}

async function firstOf(chunks: Chunks) {
  using _ = new Waiting('Reading the prompt')
  return await chunks.next()
}

/** The first token is computed with the prompt, so its time counts as prefill. */
function describeSpeed({ usage, timings, finishReason }: GenerateResult): string {
  const speed = (tokens: number, perSecond: number) =>
    `${tokens} ${tokens === 1 ? 'token' : 'tokens'}, ${perSecond.toFixed(1)} tokens/s`
  const prefill = speed(usage.promptTokens, timings.prefillTokensPerSecond)
  const further = usage.completionTokens - 1
  const { acceptedDraftTokens: guessed } = usage
  const drafts = guessed === undefined ? '' : `, ${guessed} of them guessed`
  const decode =
    further > 0 ? `; decode: ${speed(further, timings.decodeTokensPerSecond)}${drafts}` : ''
  return `prefill: ${prefill}, and 1 token${decode}; ended by ${finishReason}`
}
