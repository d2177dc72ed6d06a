import { setInterval, setTimeout } from 'node:timers'
import t from 'tap'
import { byteLevelCharacters } from '../../lib/byte-level.js'
import { loadTokenizer } from '../../lib/tokenizer.js'
import { trainTokenizer } from '../../lib/train/train-tokenizer.js'
import { page } from '../helpers/training.js'

const model = (vocabSize: number) => ({ vocabSize, bosTokenId: 1, eosTokenId: 2 })

t.test('the most frequent pair becomes a token, again and again', async t => {
  // Words: "low" 3 times, " lower" twice, " slow" twice.
  const json = (await trainTokenizer(['low lower slow', 'low lower slow', 'low'], 400)) as {
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
  const tokenizer = await loadTokenizer(await trainTokenizer([page], 400), model(400))
  for (const text of [page, 'Ünïcödé 東京 🎉\n\n\tx  ', 'e\u0301'.normalize('NFC'), '']) {
    t.equal(tokenizer.decode(tokenizer.encode(text)), text)
  }
  t.ok(tokenizer.encode(page).length < page.length / 1.8, 'and what was learned gets short')
})

t.test('the queue of pairs gives the same merges as a search of all pairs', async t => {
  const { merges } = ((await trainTokenizer([page], 500)) as { model: { merges: string[] } }).model
  t.same(merges, mergesBySearch(page, 500 - 259))
})

t.test('learning can be followed and aborted, and the event loop turns meanwhile', async t => {
  const words = Array.from({ length: 60_000 }, (_, i) => ((i * 7919) % 46_656).toString(36))
  const documents = Array.from({ length: 60 }, (_, i) =>
    words.slice(i * 1000, i * 1000 + 1000).join(' '),
  )
  const seen: number[] = []
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await trainTokenizer(documents, 1000, { onProgress: (done, of) => seen.push(done / of) })
  clearInterval(timer)
  t.ok(turns > 5, `${turns} turns`)
  t.ok(seen.length > 10 && seen.at(-1) === 1)

  const controller = new AbortController()
  const stop = new Error('stop')
  setTimeout(() => controller.abort(stop), 10)
  await t.rejects(trainTokenizer(documents, 30_000, { signal: controller.signal }), stop)
  await t.rejects(trainTokenizer(documents, 1000, { signal: controller.signal }), stop)
})

/** The definition, word by word and pair by pair. */
function mergesBySearch(text: string, most: number): string[] {
  const pattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu
  const words = Array.from(text.matchAll(pattern), ([word]) =>
    Array.from(Buffer.from(word), byte => 3 + byte),
  )
  const pieces = ['<unk>', '<s>', '</s>', ...byteLevelCharacters]
  const merges: string[] = []
  while (merges.length < most) {
    const counts = new Map<string, number>()
    for (const ids of words) {
      for (let i = 0; i + 1 < ids.length; i++) {
        const pair = `${ids[i]} ${ids[i + 1]}`
        counts.set(pair, (counts.get(pair) ?? 0) + 1)
      }
    }
    const order = [...counts].map(([pair, count]) => [count, ...pair.split(' ').map(Number)])
    order.sort((a, b) => b[0]! - a[0]! || a[1]! - b[1]! || a[2]! - b[2]!)
    const [count, left, right] = order[0]!
    if (count! < 2) break
    merges.push(`${pieces[left!]} ${pieces[right!]}`)
    for (const ids of words) {
      for (let i = 0; i + 1 < ids.length; i++) {
        if (ids[i] === left && ids[i + 1] === right) ids.splice(i, 2, pieces.length)
      }
    }
    pieces.push(pieces[left!]! + pieces[right!]!)
  }
  return merges
}

t.test('bad input', async t => {
  await t.rejects(trainTokenizer([page], 258), { code: 'INVALID_ARGUMENT' })
  await t.rejects(trainTokenizer([page], 300.5), { code: 'INVALID_ARGUMENT' })
  for (const documents of [5, page, [5], undefined]) {
    await t.rejects(trainTokenizer(documents as never, 300), { code: 'INVALID_ARGUMENT' })
  }
  await t.rejects(trainTokenizer(['', ''], 300), { code: 'INVALID_DATA' })
})
