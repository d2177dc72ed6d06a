import { buffer } from 'node:stream/consumers'
import { Command, Option } from 'commander'
import { ioError } from '../files.js'
import type { GenerateChunk, GenerateResult } from '../generation-stream.js'
import { decodeText, readText } from '../text.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import { addOptions, integer, loadOptions, pick, samplerOption, samplerOptions } from './options.js'
import { note, print } from './output.js'

const generateOptions = [
  new Option('--max-tokens <n>', 'end after n tokens (default: 256)').argParser(integer(1)),
  new Option('--ignore-eos', 'go on where the model would end the text'),
  ...samplerOptions,
  samplerOption('--logprobs <n>', 'with --json, tell the n likeliest tokens at each place'),
]

export const generate = new Command('generate')
  .description('continue a text')
  .argument('[prompt]', 'the text, or - for standard input')
  .option('--prompt-file <file>', 'a file with the text')
  .option('--json', 'print one JSON object, at the end')
  .option('--verbose', 'tell the speeds on standard error')
  .option('--stop <text>', 'end before this text; may be repeated', collect)
  .addHelpText(
    'after',
    `
Standard input and files lose one newline at their end.

Examples:
  $ openelm generate -m OpenELM-270M "Once upon a time there was"
  $ openelm generate -m OpenELM-3B --temperature 0.8 --top-p 0.95 --prompt-file story.txt
  $ git log -1 | openelm generate -m OpenELM-1_1B --json --logprobs 5 -`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    if ((argument === undefined) === (options.promptFile === undefined)) {
      command.error('expected either a prompt or --prompt-file')
    }
    if (options.logprobs > 0 && !options.json) command.error('--logprobs needs --json')

    const prompt = await readPrompt(argument, options.promptFile)
    const signal = interruptSignal()
    await using model = await loadModel(options, signal)
    const chunks = model.stream(prompt, {
      ...pick(options, generateOptions),
      stopSequences: options.stop ?? [],
      signal,
    })
    const result = options.json ? await printJson(chunks) : await printText(chunks)
    if (options.verbose) note(describeSpeed(result))
  })
addOptions(generate, [...loadOptions, ...generateOptions])

function collect(text: string, before: string[] = []): string[] {
  return [...before, text]
}

async function readPrompt(argument: string | undefined, file: string): Promise<string> {
  if (argument !== undefined && argument !== '-') return argument
  const prompt = argument === '-' ? await readStandardInput() : await readText(file)
  return prompt.replace(/\r?\n$/, '')
}

async function readStandardInput(): Promise<string> {
  const bytes = await buffer(process.stdin).catch(cause => {
    throw ioError('read', 'standard input', cause)
  })
  return decodeText(bytes, 'standard input')
}

type Chunks = AsyncGenerator<GenerateChunk, GenerateResult>

/** Prints the text as it comes. The shell's next prompt begins a line, also after half a text. */
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

/** Calls `visit` with each chunk. `for await` would lose the result. */
async function forEach(chunks: Chunks, visit: (chunk: GenerateChunk) => void) {
  let step = await chunks.next()
  for (; !step.done; step = await chunks.next()) visit(step.value)
  return step.value
}

function describeSpeed({ usage, timings, finishReason }: GenerateResult): string {
  const speed = (tokens: number, perSecond: number) =>
    `${tokens} tokens, ${perSecond.toFixed(1)} tokens/s`
  const prefill = speed(usage.promptTokens, timings.prefillTokensPerSecond)
  const decode = speed(usage.completionTokens, timings.decodeTokensPerSecond)
  return `prefill: ${prefill}; decode: ${decode}; ended by ${finishReason}`
}
