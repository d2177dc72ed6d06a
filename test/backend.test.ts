import t from 'tap'
import { OpenELM } from '../lib/index.js'
import { testBackend, volume } from './helpers/backend.js'

/** What every backend does alike, on real weights. */
t.test(`the bundled model on ${testBackend}`, async t => {
  const prompt = 'It was a fine evening, and'
  const maxTokens = volume(24, 6)
  const reference = await OpenELM.load('openelm-nano', { backend: 'cpu', dtype: 'float32' })
  t.teardown(() => reference.dispose())
  const expected = await reference.generate(prompt, { maxTokens })

  for (const dtype of ['float32', 'float16', 'bfloat16', 'q8'] as const) {
    t.test(`writes the same text in ${dtype}`, async t => {
      await using model = await OpenELM.load('openelm-nano', { backend: testBackend, dtype })
      t.equal(model.backend, testBackend)
      const { text, tokens } = await model.generate(prompt, { maxTokens })
      t.same({ text, tokens }, { text: expected.text, tokens: expected.tokens })
    })
  }

  t.test('writes English in q4', async t => {
    await using model = await OpenELM.load('openelm-nano', { backend: testBackend, dtype: 'q4' })
    const { text } = await model.generate(prompt, { maxTokens })
    t.match(text, /^ a little girl named Lily/)
  })

  t.test('draws the same tokens from one seed', async t => {
    const options = { maxTokens, temperature: 0.8, topP: 0.95, seed: 11 }
    await using model = await OpenELM.load('openelm-nano', { backend: testBackend })
    const { tokens } = await model.generate(prompt, options)
    t.same(tokens, (await reference.generate(prompt, options)).tokens)
  })

  t.test('decodes several sessions at once', async t => {
    await using model = await OpenELM.load('openelm-nano', { backend: testBackend })
    const prompts = [prompt, 'The boat', 'Lily and Tim went to the park.', 'A']
    const alone = []
    for (const prompt of prompts) {
      alone.push((await reference.generate(prompt, { maxTokens: volume(12, 4) })).tokens)
    }
    const together = prompts.map(prompt => model.generate(prompt, { maxTokens: volume(12, 4) }))
    t.same(
      (await Promise.all(together)).map(result => result.tokens),
      alone,
    )
  })

  t.test('rewinds and forks a session', async t => {
    await using model = await OpenELM.load('openelm-nano', { backend: testBackend })
    const tokens = model.tokenizer.encode('One day a cat saw a bird in a tree.')
    using session = model.createSession()
    const expected = argmax(await session.append(tokens))
    using fork = session.fork()
    session.rewind(3)
    t.equal(argmax(await session.append(tokens.slice(3))), expected)
    t.equal(fork.position, tokens.length)
    fork.rewind(tokens.length - 1)
    t.equal(argmax(await fork.append(tokens.slice(-1))), expected)
  })
})

t.test(`the bundled model on ${testBackend}`, async t => {
  const prompt = 'It was a fine evening, and'
  const maxTokens = 24
  const textOn = async (backend: typeof testBackend, dtype: 'auto' | 'float32') => {
    await using model = await OpenELM.load('openelm-nano', { backend, dtype })
    return (await model.generate(prompt, { maxTokens })).text
  }
  const expected = await textOn('cpu', 'float32')
  t.ok(expected.length > maxTokens, expected)
  t.equal(await textOn(testBackend, 'float32'), expected, 'writes the same text in float32')
  t.equal(await textOn(testBackend, 'auto'), expected, 'and as it is stored')
})

function argmax(logits: Float32Array): number {
  return logits.indexOf(Math.max(...logits))
}
