import { Command, Option } from 'commander'
import { readConfig } from '../index.js'
import { average as writeAverage } from '../train/index.js'
import { interruptSignal } from './interrupt.js'
import { Progress } from './progress.js'

export const average = new Command('average')
  .description('write the mean of several checkpoints of one run')
  .argument('<path...>', 'model directories or PyTorch files, and last the directory to write')
  .addOption(
    new Option('--dtype <dtype>', 'number format')
      .choices(['float32', 'bfloat16'])
      .default('float32'),
  )
  .option('--config <file>', 'the config.json of PyTorch files whose shape is none of the released')
  .addHelpText(
    'after',
    `
The released models are the mean of the last five checkpoints of their training.

PyTorch files are those that openelm convert reads.

Examples:
  $ openelm average run/step-* averaged
  $ openelm average checkpoint_epoch_0_iter_3*.pt averaged`,
  )
  .action(async (paths: string[], { dtype, config }, command: Command) => {
    const out = paths.pop()!
    if (paths.length === 0) command.error('expected checkpoints and a directory to write')
    const shape = config === undefined ? undefined : await readConfig(config)
    using bar = new Progress('Averaging')
    await writeAverage(paths, out, {
      dtype,
      config: shape,
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })
