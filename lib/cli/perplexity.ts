import { Command, Option } from 'commander'
import type { OpenELM } from '../model.js'
import { perplexity as measure, type PerplexityOptions } from '../perplexity.js'
import { readText } from '../text.js'
import { formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import { addOptions, integer, loadOptions } from './options.js'
import { print } from './output.js'
import { Progress } from './progress.js'
import { formatTable } from './table.js'

export const perplexity = new Command('perplexity')
  .description('tell how well a model predicts a text')
  .argument('<dir>', 'model directory')
  .argument('<file>', 'text file')
  .addOption(
    new Option(
      '--stride <n>',
      'tokens from one window to the next (default: half a window)',
    ).argParser(integer(1)),
  )
  .option('--json', 'print one JSON object')
  .addHelpText(
    'after',
    `
Bits per byte can be compared between models of different vocabularies; perplexity cannot.

Example:
  $ openelm perplexity OpenELM-270M book.txt`,
  )
  .action(async (dir: string, file: string, options) => {
    const text = await readText(file)
    const signal = interruptSignal()
    await using model = await loadModel({ ...options, model: dir }, signal)
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
addOptions(
  perplexity,
  loadOptions.filter(option => option.attributeName() !== 'model'),
)

/** The bar is gone before anything else is written. */
async function measureWithBar(model: OpenELM, text: string, options: PerplexityOptions) {
  using bar = new Progress('Reading', formatCount)
  return await measure(model, text, { ...options, onProgress: bar.update })
}
