import { Command } from 'commander'
import { perplexity as measure, type OpenELM, type PerplexityOptions } from '../index.js'
import { formatCount } from './format.js'
import { readInput } from './input.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import { addOptions, loadOptions, modelOption, numeric } from './options.js'
import { print } from './output.js'
import { Progress } from './progress.js'
import { formatTable } from './table.js'
import { Waiting } from './waiting.js'

export const perplexity = new Command('perplexity')
  .description('measure how well a model predicts a text')
  .argument('[file]', 'text file (default: standard input)')
  .addOption(numeric('--stride <n>', 'tokens from one window to the next (default: half a window)'))
  .option('--json', 'print one JSON object')
  .addHelpText(
    'after',
    `
Bits per byte can be compared between models of different vocabularies; perplexity cannot.

Example:
  $ openelm perplexity -m OpenELM-270M book.txt`,
  )
  .action(async (file: string | undefined, options, command: Command) => {
    const text = await readInput(file)
    if (text === undefined) return command.error('expected a file, or text on standard input')
    const signal = interruptSignal()
    await using model = await loadModel(options.model, options, signal)
    const result = await measureWithBar(model, text, { stride: options.stride, signal })
    if (options.json) {
      console.log(JSON.stringify(result))
      return
    }
    const rows = [
      ['perplexity', result.perplexity.toFixed(3)],
      ['bits per byte', result.bitsPerByte.toFixed(4)],
      ['tokens', formatCount(result.tokens)],
      ['bytes', formatCount(result.bytes)],
    ]
    print(`${formatTable(rows)}\n`)
  })
addOptions(perplexity, [modelOption, ...loadOptions])

/** Measures with a progress bar, which is removed before the result is printed. */
async function measureWithBar(model: OpenELM, text: string, options: PerplexityOptions) {
  using bar = new Progress('Reading', formatCount)
  using waiting = new Waiting('Splitting the text into tokens')
  return await measure(model, text, {
    ...options,
    onProgress: (done, total) => {
      waiting[Symbol.dispose]()
      bar.update(done, total)
    },
  })
}
