import { Command, Option } from 'commander'
import { initialize } from '../convert/index.js'
import { configOptions, readNamedConfig } from './config-options.js'
import { interruptSignal } from './interrupt.js'
import { addOptions, integer } from './options.js'
import { Progress } from './progress.js'

export const init = addOptions(new Command('init'), configOptions)
  .description('write a checkpoint with random weights, as training would start from')
  .argument('<out>', 'directory to write')
  .addOption(new Option('--seed <n>', 'which random weights').argParser(integer(0)).default(0))
  .addOption(
    new Option('--dtype <dtype>', 'number format')
      .choices(['float32', 'float16', 'bfloat16'])
      .default('bfloat16'),
  )
  .addHelpText(
    'after',
    `
The same seed gives the same weights, in every dtype but for its rounding.

Examples:
  $ openelm init --preset 270M random-270M
  $ openelm init --config tiny.json --seed 7 --dtype float32 tiny`,
  )
  .action(async (out: string, { seed, dtype, ...shape }, command: Command) => {
    const config = await readNamedConfig(shape)
    if (!config) return command.error('expected --preset or --config')
    using bar = new Progress('Writing')
    await initialize(config, out, {
      dtype,
      seed,
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })
