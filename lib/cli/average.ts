import { Command, Option } from 'commander'
import { average as writeAverage } from '../train/index.js'
import { interruptSignal } from './interrupt.js'
import { Progress } from './progress.js'

export const average = new Command('average')
  .description('write the mean of several checkpoints of one run')
  .argument('<dir...>', 'model directories, and last the directory to write')
  .addOption(
    new Option('--dtype <dtype>', 'number format')
      .choices(['float32', 'bfloat16'])
      .default('float32'),
  )
  .addHelpText(
    'after',
    `
The released models are the mean of the last five checkpoints of their training.

Example:
  $ openelm average run/step-* averaged`,
  )
  .action(async (directories: string[], { dtype }, command: Command) => {
    const out = directories.pop()!
    if (directories.length === 0) command.error('expected model directories and one to write')
    using bar = new Progress('Averaging')
    await writeAverage(directories, out, {
      dtype,
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })
