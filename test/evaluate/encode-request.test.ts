import { createHash } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { harnessLength, RequestEncoder, truncate } from '../../lib/evaluate/encode-request.js'
import { finish } from '../../lib/steps.js'
import { loadTokenizer } from '../../lib/tokenizer.js'
import { goldenSets, readGoldens, readLines } from './goldens.js'

interface TokensLine {
  task: string
  num_fewshot: number
  doc_id: number
  requests: [number, string, (number | string)[], number, string][]
}

const numKept = 48

for (const set of goldenSets) {
  t.test(`token ids of the ${set.name} documents`, async t => {
    const ends = { bosTokenId: 1, eosTokenId: 2, eosTokenIds: [2] }
    const tokenizer = await loadTokenizer(undefined, { vocabSize: 32000, ...ends })
    const encoder = new RequestEncoder(tokenizer)
    const lines = readLines<TokensLine>(join(set.golden, 'tokens.jsonl'))
    const nameOf = (line: { task: string; num_fewshot: number; doc_id: number }) => {
      return `${line.task} ${line.num_fewshot} ${line.doc_id}`
    }
    const byName = new Map(lines.map(line => [nameOf(line), line]))
    let numCut = 0
    for (const golden of readGoldens(set)) {
      const found: unknown[] = []
      for (const [index, continuation] of golden.requests) {
        const encoded = finish(encoder.encode({ context: golden.contexts[index]!, continuation }))
        const cut = truncate(encoded, harnessLength)!
        const input = [...cut.context, ...cut.continuation.slice(0, -1)]
        if (cut.context.length < encoded.context.length) numCut++
        const { context } = encoded
        const tail = shorten([...encoded.continuation])
        found.push([context.length, hash(context), tail, input.length, hash(input)])
      }
      t.strictSame(found, byName.get(nameOf(golden))!.requests)
    }
    t.equal(numCut, set.name === 'real' ? 16 : 0)
  })
}

function shorten(ids: readonly number[]): (number | string)[] {
  if (ids.length <= numKept) return [...ids]
  return [...ids.slice(0, numKept), '...', ids.length, hash(ids)]
}

function hash(ids: Iterable<number>): string {
  return createHash('sha256').update(Int32Array.from(ids)).digest('hex').slice(0, 16)
}
