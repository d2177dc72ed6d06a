import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Request } from '../../lib/evaluate/documents.js'
import { Row } from '../../lib/evaluate/row.js'
import type { Split, Task } from '../../lib/evaluate/task.js'

export interface Golden {
  readonly task: string
  readonly num_fewshot: number
  readonly doc_id: number
  readonly target: number | string
  readonly contexts: readonly string[]
  readonly requests: readonly (readonly [context: number, continuation: string])[]
  readonly metrics: Readonly<Record<string, number>>
}

export interface GoldenSet {
  readonly name: string
  readonly documents: string
  readonly golden: string
}

const here = import.meta.dirname
const shared = join(here, '../../../shared')

/** The made-up documents, and the real ones where they are. */
export const goldenSets: readonly GoldenSet[] = [
  { name: 'edge', documents: join(here, 'data/documents'), golden: join(here, 'data/golden') },
  {
    name: 'real',
    documents: join(shared, 'data/evaluation'),
    golden: join(shared, 'golden/evaluation'),
  },
].filter(({ golden }) => existsSync(golden))

export function readData(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(here, 'data', name), 'utf8'))
}

export function readLines<Line>(file: string): Line[] {
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter(line => line !== '').map(line => JSON.parse(line))
}

export function readGoldens(set: GoldenSet): Golden[] {
  const files = readdirSync(set.golden).filter(name => name.endsWith('.jsonl'))
  return files
    .filter(name => name !== 'tokens.jsonl' && name !== 'llm_adapters.jsonl')
    .toSorted()
    .flatMap(name => readLines<Golden>(join(set.golden, name)))
}

/** The rows of a split; where there is no file of examples, those that are scored are taken. */
export function readRows(set: GoldenSet, task: Task, split: Split): Row[] {
  const [column, value] = task.data.only ?? []
  const name = column ? `mmlu/${split}` : `${task.name}.${split}`
  const file = join(set.documents, `${name}.jsonl`)
  if (!existsSync(file)) return readRows(set, task, task.split)
  const all = readLines<Record<string, unknown>>(file)
  const rows = column ? all.filter(row => row[column] === value) : all
  return rows.map((row, i) => new Row(row, `${file}: row ${i + 1}`))
}

/** The log-probability that the goldens' model gives a continuation: it knows nothing but hashes. */
export function hashScore({ context, continuation }: Request) {
  const hash = createHash('sha256').update(`${context}\0${continuation}`).digest()
  return { logprob: (-50 * hash.readUInt32BE()) / 2 ** 32, isGreedy: (hash[4]! & 1) === 1 }
}
