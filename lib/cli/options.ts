import { type Command, InvalidArgumentError, Option } from 'commander'
import type { AdapterSpec } from '../index.js'

/** Which model, in every command that loads one. */
export const modelOption = new Option('-m, --model <dir>', 'model directory, or a bundled model')
  .default('openelm-nano')
  .helpGroup('Model:')

/** How to run a model: the command-line form of LoadOptions. */
export const loadOptions = [
  new Option('--tokenizer <file>', "a tokenizer.json to use instead of the model's own").helpGroup(
    'Model:',
  ),
  new Option('--dtype <dtype>', 'number format of the weights in memory; auto is as stored')
    .choices(['auto', 'float32', 'float16', 'bfloat16', 'q8', 'q4'])
    .default('auto')
    .helpGroup('Model:'),
  new Option('--backend <name>', 'where to compute; auto is the fastest there is')
    .choices(['auto', 'cpu', 'cuda', 'metal'])
    .default('auto')
    .helpGroup('Model:'),
  numeric('--device-index <n>', 'which of several GPUs (default: 0)', 'Model:'),
  numeric('--threads <n>', 'CPU threads (default: one per physical core)', 'Model:'),
  new Option('--kv-cache-dtype <dtype>', 'number format of the KV cache')
    .choices(['auto', 'float32', 'float16'])
    .default('auto')
    .helpGroup('Model:'),
  numeric(
    '--context-length <n>',
    "most tokens of prompt and answer (default: the model's)",
    'Model:',
  ),
  renamed(
    new Option('--adapter <dir>', 'a LoRA or DoRA adapter; dir=x takes x times as much of it')
      .argParser(onlyAdapter)
      .helpGroup('Model:'),
    'adapters',
  ),
  new Option('--mmap', 'map the files of the model into memory rather than copy them').helpGroup(
    'Model:',
  ),
  new Option(
    '--no-mmap',
    'copy even a packed checkpoint, whose files are mapped otherwise',
  ).helpGroup('Model:'),
]

/** How the next token is chosen: the command-line form of SamplerOptions. */
export const samplerOptions = [
  numeric(
    '--temperature <t>',
    'randomness; 0 always takes the likeliest token (default: 0)',
    'Sampling:',
  ),
  numeric('--top-k <n>', 'draw from the n likeliest tokens only', 'Sampling:'),
  numeric('--top-p <p>', 'draw from the likeliest tokens that make up probability p', 'Sampling:'),
  numeric(
    '--min-p <p>',
    'draw from those at least p times as likely as the likeliest',
    'Sampling:',
  ),
  numeric(
    '--repetition-penalty <x>',
    'penalize repeated tokens; 1 is off (default: 1)',
    'Sampling:',
  ),
  numeric(
    '--repetition-context-size <n>',
    'how many of the last tokens count as repeated (default: 64)',
    'Sampling:',
  ),
  new Option('--seed <n>', 'draw the same tokens again (default: another seed each time)')
    .argParser(seed)
    .helpGroup('Sampling:'),
]

export function addOptions(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option)
  return command
}

/** The values of these options, under their names in the API. Options that were not given are left out. */
export function pick(
  values: Record<string, unknown>,
  options: readonly Option[],
): Record<string, unknown> {
  const names = new Set(options.map(option => option.attributeName()))
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)))
}

/** An option that takes a number. The library checks its range. */
export function numeric(flags: string, description: string, group?: string): Option {
  const option = new Option(flags, description).argParser(toNumber)
  return group === undefined ? option : option.helpGroup(group)
}

/** The same option under another name in the API. */
export function renamed(option: Option, attribute: string): Option {
  return Object.assign(option, { attributeName: () => attribute })
}

/** Parses an adapter, whose name may be followed by = and a scale. */
export function adapter(text: string): AdapterSpec {
  const [, path, scale] = /^(.+)=([^=/\\]*)$/.exec(text) ?? [undefined, text, '1']
  const value = parseNumber(scale!)
  if (Number.isFinite(value)) return { path: path!, scale: value }
  throw new InvalidArgumentError('Expected a number behind =.')
}

function onlyAdapter(text: string, others: AdapterSpec[] = []): AdapterSpec[] {
  if (others.length === 0) return [adapter(text)]
  throw new InvalidArgumentError('Expected one adapter; merge adds several up.')
}

/** The model that a command names by its argument or by -m; undefined without either. */
export function namedModel(
  argument: string | undefined,
  { model }: { model?: string },
  command: Command,
): string | undefined {
  if (argument !== undefined && command.getOptionValueSource('model') === 'cli') {
    command.error('the model is named twice')
  }
  return argument ?? model
}

/** A parser of integers from `min` up. */
export function integer(min: number): (text: string) => number {
  return text => {
    const value = parseNumber(text)
    if (Number.isSafeInteger(value) && value >= min) return value
    throw new InvalidArgumentError(`Expected an integer from ${min} up.`)
  }
}

/** Parses a seed: a bigint, because a number cannot hold all of 64 bits. */
function seed(text: string): bigint {
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) return BigInt(text)
  throw new InvalidArgumentError('Expected an integer from 0 to 2^64 - 1.')
}

function toNumber(text: string): number {
  const value = parseNumber(text)
  if (!Number.isNaN(value)) return value
  throw new InvalidArgumentError('Expected a number.')
}

/** Unlike Number(), takes neither '' nor ' 3' nor '0x10' for a number. */
function parseNumber(text: string): number {
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
}
