import { Command } from 'commander'
import { pull as pullModel } from '../index.js'
import { interruptSignal } from './interrupt.js'
import { print } from './output.js'
import { Progress } from './progress.js'

export const pull = new Command('pull')
  .description('download a model from the Hugging Face hub, and print its directory')
  .argument('<name>', 'owner/name, or owner/name@revision')
  .option('--cache <dir>', "where to keep it (default: the cache of Hugging Face's own tools)")
  .addHelpText(
    'after',
    `
Other commands then take the name for -m. What is there is not downloaded again, and what was
interrupted goes on. HF_TOKEN opens private and gated models; HF_ENDPOINT names another hub;
HF_HUB_OFFLINE=1 keeps this and every other command off the network.

Example:
  $ openelm pull apple/OpenELM-270M-Instruct`,
  )
  .action(async (name: string, { cache }) => {
    using bar = new Progress('Downloading', undefined, { timeLeft: true })
    const options = { cacheDir: cache, onProgress: bar.update, signal: interruptSignal() }
    const directory = await pullModel(name, options)
    bar[Symbol.dispose]()
    print(`${directory}\n`)
  })
