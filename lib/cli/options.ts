import { type Command, InvalidArgumentError, Option } from 'commander'
import { checkGenerateOptions } from '../generate-options.js'

/** Which model to run and how: the command-line form of LoadOptions. */
export const loadOptions = [
  new Option(
    '-m, --model <dir>',
    'directory with config.json and *.safetensors, or a bundled model',
  )
    .default('openelm-nano')
    .helpGroup('Model:'),
  new Option('--dtype <dtype>', 'number format of the weights in memory; auto is as stored')
    .choices(['auto', 'float32', 'float16', 'bfloat16', 'q8', 'q4'])
    .default('auto')
    .helpGroup('Model:'),
  new Option('--backend <name>', 'where to compute; auto is the fastest there is')
    .choices(['auto', 'cpu', 'cuda', 'metal'])
    .default('auto')
    .helpGroup('Model:'),
  new Option('--device-index <n>', 'which of several GPUs (default: 0)')
    .argParser(integer(0))
    .helpGroup('Model:'),
  new Option('--threads <n>', 'CPU threads (default: one per physical core)')
    .argParser(integer(1))
    .helpGroup('Model:'),
  new Option('--kv-cache-dtype <dtype>', 'number format of the KV cache on the CPU')
    .choices(['auto', 'float32', 'float16'])
    .default('auto')
    .helpGroup('Model:'),
  new Option('--context-length <n>', "most tokens of prompt and answer (default: the model's)")
    .argParser(integer(1))
    .helpGroup('Model:'),
]

/** How the next token is chosen: the command-line form of SamplerOptions. */
export const samplerOptions = [
  samplerOption('--temperature <t>', 'randomness; 0 always takes the likeliest token (default: 0)'),
  samplerOption('--top-k <n>', 'draw from the n likeliest tokens only'),
  samplerOption('--top-p <p>', 'draw from the likeliest tokens that make up probability p'),
  samplerOption('--min-p <p>', 'draw from those at least p times as likely as the likeliest'),
  samplerOption('--repetition-penalty <x>', 'above 1, avoid what came lately (default: 1)'),
  samplerOption('--repetition-context-size <n>', 'how many tokens are lately (default: 64)'),
  new Option('--seed <n>', 'draw the same tokens again (default: another seed each time)')
    .argParser(seed)
    .helpGroup('Sampling:'),
]

export function addOptions(command: Command, options: Option[]): Command {
  for (const option of options) command.addOption(option)
  return command
}

/** The values that were given of the options, under their API names. */
export function pick(values: Record<string, unknown>, options: Option[]): Record<string, unknown> {
  const names = new Set(options.map(option => option.attributeName()))
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)))
}

/** A parser of whole numbers. Commander says of which option, and what came instead. */
export function integer(min: number): (text: string) => number {
  return text => {
    const value = toNumber(text)
    if (Number.isSafeInteger(value) && value >= min) return value
    throw new InvalidArgumentError(`Expected an integer from ${min} up.`)
  }
}

/** A seed, which has more digits than a number holds. */
function seed(text: string): bigint {
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) return BigInt(text)
  throw new InvalidArgumentError('Expected an integer from 0 to 2^64 - 1.')
}

/** A parser of numbers above 0. */
export function positive(text: string): number {
  const value = toNumber(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('Expected a number above 0.')
}

/** An option of which SamplerOptions decides what is valid. */
export function samplerOption(flags: string, description: string): Option {
  const option = new Option(flags, description).helpGroup('Sampling:')
  return option.argParser(text => {
    const value = toNumber(text)
    try {
      checkGenerateOptions({ [option.attributeName()]: value })
    } catch (error) {
      const [, expected] = /to be (.+), received/.exec((error as Error).message) ?? []
      throw new InvalidArgumentError(`Expected ${expected}.`)
    }
    return value
  })
}

/** Unlike Number(), takes neither '' nor ' 3' nor '0x10' for a number. */
function toNumber(text: string): number {
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
}
