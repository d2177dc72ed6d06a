import * as fs from 'node:fs/promises'
import llama from 'llama-tokenizer-js'
import t from 'tap'
import { llamaVocabulary } from '../lib/llama-vocabulary.js'

t.test('holds the pieces and merges of llama-tokenizer-js', async t => {
  const parse = await llamaVocabulary()
  const { pieces, merges } = parse({ vocabSize: 32000, bosTokenId: 1, eosTokenId: 2 })
  t.equal(pieces.length, 32000)
  t.same(pieces.slice(3), llama.vocabById.slice(3))
  t.same(pieces.slice(0, 3), [undefined, undefined, undefined])
  const { left, right, merged } = merges
  const pairs = Array.from(left, (id, i) => `${pieces[id]} ${pieces[right[i]!]}`)
  t.same(pairs, [...llama.merges.keys()])
  const made = Array.from(merged, id => pieces[id])
  t.same(
    made,
    pairs.map(pair => pair.replace(' ', '')),
  )
})

t.test('a read that failed is an error of that call, and tried again by the next', async t => {
  let failures = 1
  const { llamaVocabulary } = await t.mockImport<typeof import('../lib/llama-vocabulary.js')>(
    '../lib/llama-vocabulary.js',
    {
      'node:fs/promises': {
        ...fs,
        readFile: (file: string) => {
          if (failures-- > 0) return Promise.reject(new Error('EMFILE: too many open files'))
          return fs.readFile(file)
        },
      },
    },
  )
  await t.rejects(llamaVocabulary(), { code: 'IO_ERROR', message: /EMFILE/ })
  t.type(await llamaVocabulary(), 'function')
})
