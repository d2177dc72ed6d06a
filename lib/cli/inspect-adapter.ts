import { type AdapterFacts, inspectAdapter } from '../train/index.js'
import { formatBytes, formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { print } from './output.js'
import { Progress } from './progress.js'
import { formatTable } from './table.js'

/** Prints what an adapter is made of and, with its base model, how much it changes. */
export async function printAdapter(
  adapter: string,
  { model, json }: { model?: string; json?: boolean },
): Promise<void> {
  using bar = new Progress('Comparing', formatCount)
  const options = { model, onProgress: bar.update, signal: interruptSignal() }
  const facts = await inspectAdapter(adapter, options)
  bar[Symbol.dispose]()
  if (json) console.log(JSON.stringify(facts))
  else print(`${format(facts)}\n`)
}

const writers = { peft: 'PEFT', corenet: 'CoreNet', mlx: 'mlx-lm' }

function format({ format, method, base, parameters, byteLength, ...facts }: AdapterFacts): string {
  const summary = [
    ['adapter', `${method === 'dora' ? 'DoRA' : 'LoRA'}, of ${writers[format]}`],
    ['base', base ?? 'not named'],
    ['parameters', formatCount(parameters)],
    ['stored in', formatBytes(byteLength)],
  ]
  if (facts.baseDType) summary.push(['learnt beside', `${facts.baseDType} weights`])
  if (facts.adaptsHead) summary.push(['output', 'adapted with the embedding'])
  const rows = facts.targets.map(({ name, shape, rank, scale, change }) => [
    name,
    shape.join(' x '),
    String(rank),
    String(Number(scale.toPrecision(6))),
    ...(change === undefined ? [] : [`${(100 * change).toPrecision(3)}%`]),
  ])
  const head = ['matrix', 'shape', 'rank', 'scale', 'change'].slice(0, rows[0]!.length)
  return [formatTable(summary, [], 2), formatTable(rows, head)].join('\n\n')
}
