import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { OpenELM } from '../lib/model.js'

const directory = bundledModel('openelm-nano')!
/** Stories of its teacher, a line each, that it has not read. */
const heldOut = readFileSync(join(import.meta.dirname, 'data', 'stories.jsonl'), 'utf8')
const stories: string[] = heldOut
  .split('\n')
  .filter(Boolean)
  .map(line => JSON.parse(line).text)
/** What its teacher, stories260K, takes for them in float32. */
const teachersBitsPerByte = 0.5775

t.test('the bundled model is small', async t => {
  const bytes = readdirSync(directory).map(name => statSync(join(directory, name)).size)
  t.ok(bytes.reduce((sum, size) => sum + size, 0) < 3e6)
})

for (const dtype of ['float32', 'bfloat16', 'q8', 'q4'] as const) {
  t.test(`it predicts stories that it has not read: ${dtype}`, async t => {
    await using model = await OpenELM.load('openelm-nano', { dtype })
    let nats = 0
    for (const story of stories) {
      for (const { logprob } of await model.scores(model.tokenizer.encode(story))) nats -= logprob
    }
    const bitsPerByte = nats / Math.LN2 / Buffer.byteLength(stories.join(''))
    t.comment(`${bitsPerByte.toFixed(3)} bits per byte`)
    t.ok(bitsPerByte < 1.1 * teachersBitsPerByte, 'at most a tenth more than its teacher')
  })
}

t.test('it tells a story about what it is asked for', async t => {
  await using model = await OpenELM.load('openelm-nano', { dtype: 'float32' })
  const ask = async (content: string) => {
    const { text } = await model.generate([{ role: 'user', content }])
    return text
  }
  const story = await ask('Tell me a story about a cat and a boat.')
  t.match(story, /\bcat\b/)
  t.match(story, /\bboat\b/)
  t.ok(story.split(/[.!?]/).length > 4, story)
  t.match(
    await ask('Tell me a story about a dog and a red ball.'),
    /\bdog\b.*\bball\b|\bball\b.*\bdog\b/s,
  )
})

t.test('it says the same for the same seed', async t => {
  await using model = await OpenELM.load('openelm-nano')
  const options = { maxTokens: 60, temperature: 0.8, seed: 1 }
  const tell = () => model.generate('Once upon a time, there was', options)
  const { text } = await tell()
  t.equal((await tell()).text, text)
  t.not((await model.generate('Once upon a time, there was', { ...options, seed: 2 })).text, text)
})
