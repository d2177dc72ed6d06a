// Writes vocabulary.bin, which lib/llama-vocabulary.ts reads, from llama-tokenizer-js.
//
//   node models/llama-tokenizer/make.mjs

import { writeFileSync } from 'node:fs'
import llama from 'llama-tokenizer-js'

const pieces = llama.vocabById
const ids = new Map(pieces.map((piece, id) => [piece, id]))
const merges = [...llama.merges.keys()].map(merge => {
  const [left, right] = merge.split(' ')
  return [left, right, left + right].map(piece => ids.get(piece))
})
const columns = [0, 1, 2].flatMap(i => merges.map(merge => merge[i]))
writeFileSync(
  new URL('vocabulary.bin', import.meta.url),
  Buffer.concat([
    new Uint8Array(Uint32Array.of(merges.length).buffer),
    new Uint8Array(Uint16Array.from(columns).buffer),
    Buffer.from(pieces.join('\n')),
  ]),
)
