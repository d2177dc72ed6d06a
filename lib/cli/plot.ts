import { Command } from 'commander'
import { plotLog } from '../train/index.js'

export const plot = new Command('plot')
  .description('draw the loss of a training from its log')
  .argument(
    '<log>',
    "the log.jsonl of openelm train, or what CoreNet printed: Apple's training_logs.txt",
  )
  .argument('<out>', 'SVG to write')
  .addHelpText(
    'after',
    `
CoreNet prints means since its epoch began, so its curve falls later than the loss did.

Example:
  $ openelm plot training_logs.txt loss.svg`,
  )
  .action(async (log: string, out: string) => {
    await plotLog(log, out)
  })
