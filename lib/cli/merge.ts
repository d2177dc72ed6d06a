import { Command, Option } from 'commander'
import { type AdapterSpec, type MergeReport, merge as mergeAdapters } from '../train/index.js'
import { interruptSignal } from './interrupt.js'
import { adapter } from './options.js'
import { note } from './output.js'
import { Progress } from './progress.js'

export const merge = new Command('merge')
  .description('write a model whose weights are those of another with adapters')
  .argument('<out>', 'directory to write')
  .addOption(new Option('-m, --model <dir>', 'the base model').makeOptionMandatory())
  .addOption(
    new Option('--adapter <dir...>', 'LoRA or DoRA adapters; dir=x takes x times as much of one')
      .argParser((text, others: AdapterSpec[] = []) => [...others, adapter(text)])
      .makeOptionMandatory(),
  )
  .addOption(
    new Option(
      '--dtype <dtype>',
      'number format (default: float32 for a base in float32, else bfloat16)',
    ).choices(['float32', 'float16', 'bfloat16']),
  )
  .addHelpText(
    'after',
    `
An adapter is a directory of PEFT or mlx-lm, or a .safetensors file with CoreNet's names. Merged
adapters are part of the weights: keep the base model, which is the way back. Quantise the merged
model if it is to be small: 8 bits keep most adapters, 4 bits lose small ones.

Example:
  $ openelm merge merged -m OpenELM-270M --adapter my-adapter other-adapter=0.5`,
  )
  .action(async (out: string, { model, adapter: adapters, dtype }) => {
    using bar = new Progress('Merging')
    const options = { dtype, onProgress: bar.update, signal: interruptSignal() }
    const report = await mergeAdapters(model, adapters, out, options)
    bar[Symbol.dispose]()
    tell(report)
  })

function tell({ dtype, isUntied, targets, kept, remarks }: MergeReport): void {
  const percent = (share: number) => `${(100 * share).toFixed(0)}%`
  note(`${targets.length} matrices changed, stored as ${dtype}`)
  note(`kept of the change: ${percent(kept.smallest)} at least, ${percent(kept.median)} typically`)
  for (const remark of remarks) note(remark)
  if (isUntied) note('the output matrix is one of its own now, the embedding of the base')
  if (kept.smallest < 0.9)
    note(`${dtype} loses a good part of the adapter; --dtype float32 does not`)
}
