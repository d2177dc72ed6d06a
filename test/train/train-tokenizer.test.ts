import t from 'tap'
import { loadTokenizer } from '../../lib/tokenizer.js'
import { trainTokenizer } from '../../lib/train/train-tokenizer.js'
import { page } from '../helpers/training.js'

const model = (vocabSize: number) => ({ vocabSize, bosTokenId: 1, eosTokenId: 2 })

t.test('the most frequent pair becomes a token, again and again', async t => {
  // Words: "low" 3 times, " lower" twice, " slow" twice.
  const json = trainTokenizer(['low lower slow', 'low lower slow', 'low'], 400) as {
    model: { vocab: Record<string, number>; merges: string[] }
  }
  t.same(json.model.merges.slice(0, 2), ['l o', 'lo w'], 'both occur 7 times')
  t.same(
    json.model.merges.slice(2),
    ['Ġ s', 'Ġ low', 'e r', 'Ġs low', 'Ġlow er'],
    'each occurs twice, and the pair of the oldest tokens comes first',
  )
  t.equal(Object.keys(json.model.vocab).length, 259 + 7, 'nothing is left that occurs twice')
})

t.test('any text can be encoded and comes back', async t => {
  const tokenizer = await loadTokenizer(trainTokenizer([page], 400), model(400))
  for (const text of [page, 'Ünïcödé 東京 🎉\n\n\tx  ', 'e\u0301'.normalize('NFC'), '']) {
    t.equal(tokenizer.decode(tokenizer.encode(text)), text)
  }
  t.ok(tokenizer.encode(page).length < page.length / 1.8, 'and what was learned gets short')
})

t.test('bad input', async t => {
  t.throws(() => trainTokenizer([page], 258), { code: 'INVALID_ARGUMENT' })
  t.throws(() => trainTokenizer([page], 300.5), { code: 'INVALID_ARGUMENT' })
  for (const documents of [5, page, [5], undefined]) {
    t.throws(() => trainTokenizer(documents as never, 300), { code: 'INVALID_ARGUMENT' })
  }
  t.throws(() => trainTokenizer(['', ''], 300), { code: 'INVALID_DATA' })
})
