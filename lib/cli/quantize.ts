import { Command, Option } from 'commander'
import { quantize as quantizeCheckpoint } from '../convert/index.js'
import { interruptSignal } from './interrupt.js'
import { integer } from './options.js'
import { Progress } from './progress.js'

export const quantize = new Command('quantize')
  .description('make a smaller and faster checkpoint of one in floating point')
  .argument('<in>', 'model directory')
  .argument('<out>', 'directory to write')
  .addOption(
    new Option('--dtype <dtype>', 'q8: 8.5 bits a weight; q4: 4.5, with the embedding in q8')
      .choices(['q8', 'q4'])
      .makeOptionMandatory(),
  )
  .addOption(
    new Option('--threads <n>', 'CPU threads (default: one per physical core)').argParser(
      integer(1),
    ),
  )
  .addHelpText(
    'after',
    `
The tokenizer, the chat template and generation_config.json are copied as well.

Example:
  $ openelm quantize --dtype q4 OpenELM-3B-Instruct OpenELM-3B-Instruct-q4`,
  )
  .action(async (input: string, output: string, { dtype, threads }) => {
    using bar = new Progress('Quantising')
    await quantizeCheckpoint(input, output, {
      dtype,
      threads,
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })
