import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PythonRandom } from '../../lib/evaluate/python-random.js'
import { goldenSets, readData } from './goldens.js'

interface Draws {
  n: number
  k: number
  draws: number[][]
}

const golden = readData('python_random.json') as {
  seed_1234_getrandbits32_first10: number[]
  seed_1234_getrandbits_of_k: [number, number][]
  samples: Draws[]
  shuffle_seed_83652: { n: number; first20: number[]; last3: number[] }[]
  [drawn: string]: unknown
}

t.test('words and bits', async t => {
  const words = new PythonRandom(1234)
  const expected = golden.seed_1234_getrandbits32_first10
  t.same(
    expected.map(() => words.bits(32)),
    expected,
  )
  const bits = new PythonRandom(1234)
  for (const [count, value] of golden.seed_1234_getrandbits_of_k) t.equal(bits.bits(count), value)
})

t.test('samples, from lists and by sets', async t => {
  for (const { n, k, draws } of golden.samples) {
    const random = new PythonRandom(1234)
    t.same(
      draws.map(() => random.sample(n, k)),
      draws,
      `${k} of ${n}`,
    )
  }
})

t.test('the last draws of whole splits', async t => {
  const draw = (nth: number, size: number, count: number) => {
    const random = new PythonRandom(1234)
    for (let i = 1; i < nth; i++) random.sample(size, count)
    return random.sample(size, count)
  }
  t.same(draw(1267, 40398, 6), golden.winogrande_5shot_draw_1267_of_pool_40398_six_drawn)
  t.same(draw(10042, 39905, 11), golden.hellaswag_10shot_draw_10042_of_pool_39905_eleven_drawn)
  t.same(draw(1172, 1119, 25), golden.arc_challenge_25shot_draw_1172_of_pool_1119)
  t.same(draw(1677, 1677, 25), golden.crows_pairs_25shot_draw_1677_of_pool_1677)
})

t.test('pairs of CrowS-Pairs that are drawn for themselves', async t => {
  const random = new PythonRandom(1234)
  const drawn = Array.from({ length: 1677 }, () => random.sample(1677, 25))
  const own = drawn.filter((draw, i) => draw.includes(i))
  t.equal(own.length, golden.crows_pairs_docs_that_get_24_shots)
})

const real = goldenSets.find(({ name }) => name === 'real')

t.test('examples that the real data sets gave', { skip: !real && 'needs ../shared' }, async t => {
  const selectionOf = (task: string) => {
    const file = join(real!.golden, `${task}.real-selection.json`)
    return JSON.parse(readFileSync(file, 'utf8'))
  }
  const crows = selectionOf('crows_pairs_english')
  const random = new PythonRandom(1234)
  const drawn = Array.from({ length: 1677 }, () => random.sample(1677, 25))
  for (const { doc_id, drawn: expected } of crows.first_12) t.same(drawn[doc_id], expected)
  const own = [...drawn.keys()].filter(id => drawn[id]!.includes(id))
  t.same(own, crows.docs_with_24_shots)

  // Of ARC there are names in the place of row numbers: each row has one name, and no two the same.
  const arc = new PythonRandom(1234)
  const names = new Map<number, string>()
  let numAgain = 0
  for (const { fewshot_ids } of selectionOf('arc_challenge').docs as { fewshot_ids: string[] }[]) {
    for (const [i, row] of arc.sample(1119, 25).entries()) {
      const known = names.get(row)
      if (known !== undefined) numAgain++
      t.equal(known ?? fewshot_ids[i], fewshot_ids[i])
      names.set(row, fewshot_ids[i]!)
    }
  }
  t.ok(numAgain > 20, `${numAgain}`)
  t.equal(new Set(names.values()).size, names.size)
})

t.test('orders', async t => {
  for (const { n, first20, last3 } of golden.shuffle_seed_83652) {
    const order = new PythonRandom(83652).shuffle(Array.from({ length: n }, (_, i) => i))
    t.same(order.slice(0, 20), first20)
    t.same(order.slice(-3), last3)
  }
})
