import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadTokenizer } from '../../lib/tokenizer.js'
import type { Example } from '../../lib/train/examples/example.js'
import { type ExampleOptions, readExamples } from '../../lib/train/examples/read-examples.js'

/** LLaMA's, with which the golden values of fine-tuning were made. */
export const llama = await loadTokenizer(undefined, {
  vocabSize: 32000,
  bosTokenId: 1,
  eosTokenId: 2,
})

const folder = join(import.meta.dirname, '../data/fine-tuning')

/** A file of real rows: test/data/fine-tuning/rows/README.md says whose. */
export function rowsFile(name: string): string {
  return join(folder, 'rows', name)
}

export function goldenValues(name: string) {
  return JSON.parse(readFileSync(join(folder, name), 'utf8'))
}

/** Reads rows as `readExamples` does, with LLaMA's vocabulary, from a file of lines in `directory`. */
export async function examplesOf(
  directory: string,
  rows: readonly unknown[],
  options: Partial<ExampleOptions> = {},
) {
  const file = join(directory, `${randomUUID()}.jsonl`)
  writeFileSync(file, rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  return readExamples([file], llama, { sequenceLength: 1024, ...options })
}

/** The only example of the only row. */
export async function exampleOf(
  directory: string,
  row: unknown,
  options: Partial<ExampleOptions> = {},
): Promise<Example> {
  const { rows } = await examplesOf(directory, [row], options)
  return rows.at(0)[0]
}

/** What of an example is learnt, as text. */
export function learntText({ tokens, targets }: Example): string {
  const learnt = tokens.filter((_, i) => targets[i] === 1)
  return Array.from(learnt, token =>
    token === llama.eosTokenId ? '</s>' : llama.decode([token], { continuation: true }),
  ).join('')
}
