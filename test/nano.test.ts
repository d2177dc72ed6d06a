import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { OpenELM } from '../lib/model.js'
import { perplexity } from '../lib/perplexity.js'

const directory = bundledModel('openelm-nano')!
/** The beginning of the novel that was kept from its training. */
const heldOut = readFileSync(join(import.meta.dirname, 'data', 'northanger-abbey.txt'), 'utf8')

t.test('the bundled model is small', async t => {
  const bytes = readdirSync(directory).map(name => statSync(join(directory, name)).size)
  t.ok(bytes.reduce((sum, size) => sum + size, 0) < 6e6)
})

for (const dtype of ['float32', 'bfloat16', 'q8', 'q4'] as const) {
  t.test(`it predicts English that it has not seen: ${dtype}`, async t => {
    await using model = await OpenELM.load('openelm-nano', { dtype })
    const { bitsPerByte } = await perplexity(model, heldOut)
    t.comment(`${bitsPerByte.toFixed(3)} bits per byte`)
    t.ok(bitsPerByte < 1.945, '80% of what xz -9e takes for the whole novel')
  })
}

t.test('it writes English', async t => {
  await using model = await OpenELM.load('openelm-nano')
  const options = { maxTokens: 60, temperature: 0.8, seed: 1 }
  const { text } = await model.generate('Emma was', options)
  t.equal((await model.generate('Emma was', options)).text, text, 'the same for the same seed')
  const words = text.toLowerCase().match(/\p{L}+/gu) ?? []
  const common = new Set(
    'the of and to a in was her she he it that had not be with as for'.split(' '),
  )
  t.ok(words.filter(word => common.has(word)).length > words.length / 6, text)
})
