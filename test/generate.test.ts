import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { type GenerateChunk, type GenerateResult, OpenELM } from '../lib/index.js'
import { isEmulated, testBackend, untilIdle, volume } from './helpers/backend.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const prompt = 'It was a fine evening, and'
const greedyText = ' a little girl named Lily. She loved to play with her toys'

async function collect(stream: AsyncGenerator<GenerateChunk, GenerateResult>) {
  const chunks: GenerateChunk[] = []
  for (;;) {
    const step = await stream.next()
    if (step.done) return { chunks, result: step.value }
    chunks.push(step.value)
  }
}

t.test('the bundled model', async t => {
  const loading = { backend: testBackend, dtype: 'float32' } as const
  const model = await OpenELM.load('openelm-nano', loading)
  t.teardown(() => model.dispose())
  const promptTokens = model.tokenizer.encode(prompt).length

  t.test('continues greedily', async t => {
    const maxTokens = volume(100, 25)
    const result = await model.generate(prompt, { maxTokens })
    const length = Math.min(greedyText.length, result.text.length)
    t.equal(result.text.slice(0, length), greedyText.slice(0, length))
    t.equal(result.finishReason, 'length')
    t.equal(result.tokens.length, maxTokens)
    t.same(result.usage, { promptTokens, cachedTokens: 0, completionTokens: maxTokens })
    for (const time of Object.values(result.timings)) t.ok(time > 0)
  })

  t.test('streams what it generates', async t => {
    const maxTokens = volume(40, 10)
    const whole = await model.generate(prompt, { maxTokens })
    const { chunks, result } = await collect(model.stream(prompt, { maxTokens }))
    t.equal(chunks.map(chunk => chunk.text).join(''), whole.text)
    t.same(
      chunks.map(chunk => chunk.token),
      whole.tokens,
    )
    t.same({ ...result, timings: 0 }, { ...whole, timings: 0 })
    t.notOk(chunks.some(chunk => 'logprob' in chunk || 'topLogprobs' in chunk))
  })

  t.test('takes tokens as a prompt, as they are', async t => {
    const tokens = model.tokenizer.encode(prompt)
    const text = await model.generate(prompt, { maxTokens: 20 })
    const same = await model.generate(tokens, { maxTokens: 20 })
    const typed = await model.generate(Int32Array.from(tokens), { maxTokens: 20 })
    t.same([same.tokens, typed.tokens], [text.tokens, text.tokens])
  })

  t.test('begins a text without a space when there is no prompt', async t => {
    const { text } = await model.generate('', { maxTokens: 4 })
    t.match(text, /^\S/)
  })

  t.test('ends at a stop sequence, and shows none of it', async t => {
    const stopSequences = ['nothing like this', 'named Lily', 'Lily.']
    const { chunks, result } = await collect(model.stream(prompt, { stopSequences }))
    t.equal(result.text, ' a little girl ')
    t.equal(result.finishReason, 'stop')
    t.equal(chunks.map(chunk => chunk.text).join(''), result.text)
    t.equal(result.tokens.length, chunks.length)
  })

  t.test('gives back what only looked like the beginning of a stop sequence', async t => {
    const maxTokens = 30
    const { text } = await model.generate(prompt, { maxTokens })
    const stopSequences = [`${text.slice(5, 25)}!`, `${text.slice(-3)}?`]
    const { chunks, result } = await collect(model.stream(prompt, { maxTokens, stopSequences }))
    t.equal(result.text, text)
    t.equal(chunks.map(chunk => chunk.text).join(''), text)
  })

  const skipStory = isEmulated && 'an emulator takes minutes for a whole story'
  t.test('ends where the model ends the text', { skip: skipStory }, async t => {
    // Stories are long: the token before the first full stop ends them here.
    const { tokens, text } = await model.generate(prompt, { maxTokens: 20 })
    const end =
      tokens[model.tokenizer.encode(prompt + text.split('.')[0]).length - promptTokens - 1]!
    const directory = t.testdir()
    cpSync(bundledModel('openelm-nano')!, directory, { recursive: true })
    const settings = JSON.stringify({ eos_token_id: [2, end] })
    writeFileSync(join(directory, 'generation_config.json'), settings)
    await using ending = await OpenELM.load(directory, loading)

    const ended = await ending.generate(prompt, { maxTokens: 100 })
    t.equal(ended.finishReason, 'stop')
    t.equal(ended.tokens.indexOf(end), ended.tokens.length - 1)
    const maxTokens = ended.tokens.length + 3
    const ignored = await ending.generate(prompt, { maxTokens, ignoreEos: true })
    t.equal(ignored.finishReason, 'length')
    t.same(ignored.tokens.slice(0, ended.tokens.length), ended.tokens)
  })

  t.test('ends when the context is full', async t => {
    const small = await OpenELM.load('openelm-nano', { ...loading, contextLength: 12 })
    t.teardown(() => small.dispose())
    const result = await small.generate(prompt)
    t.equal(result.finishReason, 'length')
    t.equal(result.tokens.length, 12 - promptTokens + 1)
    const whole = await small.generate(
      small.tokenizer.encode(prompt).concat(Array(12 - promptTokens).fill(5)),
    )
    t.equal(whole.tokens.length, 1)
    await t.rejects(small.generate(Array(13).fill(5)), { code: 'CONTEXT_OVERFLOW' })
    await t.rejects(small.logits(Array(13).fill(5)), { code: 'CONTEXT_OVERFLOW' })
    using session = small.createSession()
    await session.append(Array(12).fill(5))
    await t.rejects(session.append([5]), { code: 'CONTEXT_OVERFLOW' })
    t.equal(session.position, 12)
  })

  t.test('one seed gives one text', async t => {
    const maxTokens = volume(60, 20)
    const options = { maxTokens, temperature: 1, topP: 0.95, topK: 100, repetitionPenalty: 1.1 }
    const texts = new Set<string>()
    for (const threads of [1, 2, 3]) {
      await using other = await OpenELM.load('openelm-nano', { ...loading, threads })
      texts.add((await other.generate(prompt, { ...options, seed: 7 })).text)
    }
    t.equal(texts.size, 1)
    texts.add((await model.generate(prompt, { ...options, seed: 8 })).text)
    texts.add((await model.generate(prompt, options)).text)
    t.equal(texts.size, 3, 'other seeds give others')
  })

  t.test('reports log-probabilities', async t => {
    const { chunks } = await collect(model.stream(prompt, { maxTokens: 5, logprobs: 3 }))
    const tokens = model.tokenizer.encode(prompt)
    for (const { token, logprob, topLogprobs } of chunks) {
      t.equal(topLogprobs?.length, 3)
      t.same(topLogprobs?.[0], { token, logprob })
      const { logprob: scored, tokens: count, isGreedy } = await model.score(tokens, [token])
      t.ok(Math.abs(scored - logprob!) < 1e-5)
      t.same([count, isGreedy], [1, true])
      tokens.push(token)
    }
  })

  t.test('scores continuations', async t => {
    const story = await model.score(prompt, ' a little girl named Lily')
    const noise = await model.score(prompt, ' named Lily girl little a')
    t.ok(story.isGreedy)
    t.notOk(noise.isGreedy)
    t.ok(story.logprob > noise.logprob + 5)
    t.same(await model.score('Once', ''), { logprob: 0, tokens: 0, isGreedy: true })

    const tokens = model.tokenizer.encode(`${prompt} she was`)
    const { vocabSize } = model.config
    const logits = await model.logits(tokens)
    let expected = 0
    for (let i = promptTokens; i < tokens.length; ++i) {
      const row = logits.subarray((i - 1) * vocabSize, i * vocabSize)
      const sum = row.reduce((total, logit) => total + Math.exp(logit), 0)
      expected += row[tokens[i]!]! - Math.log(sum)
    }
    const { logprob, tokens: count } = await model.score(prompt, ' she was')
    t.equal(count, tokens.length - promptTokens)
    t.ok(Math.abs(logprob - expected) < 1e-4)
  })

  t.test('scores every token that a continuation has a part in', async t => {
    const text = 'Once upon a time'
    const all = model.tokenizer.encode(text)
    for (let cut = 0; cut < text.length; cut++) {
      const context = text.slice(0, cut)
      const scored = await model.score(context, text.slice(cut))
      const before = all.slice(0, all.length - scored.tokens)
      t.ok(context.startsWith(model.tokenizer.decode(before).trimStart()), `cut at ${cut}`)
      const next = model.tokenizer.decode(all.slice(0, before.length + 1)).trimStart()
      t.ok(next.trim().length > context.trim().length, 'and no other')
      t.same(scored, await model.score(before, all.slice(before.length)))
    }
    t.same(await model.score('Once upon ', 'a time'), await model.score('Once upon', ' a time'))
  })

  t.test('tells what it is', async t => {
    t.equal(model.backend, testBackend)
    t.equal(model.dtype, 'float32')
    t.equal(model.config.numLayers, 6)
    await untilIdle(model)
    using _ = model.createSession({ contextLength: 100 })
    const cached = 2 * model.config.numKvHeads.reduce((sum, heads) => sum + heads, 0) * 32
    t.ok(model.memory.kvCache >= cached * 100 * 4)
    t.ok(model.memory.weights >= 1_026_048 * 4)
  })
})

t.test('without a tokenizer, token ids give tokens without text', async t => {
  const directory = writeTinyModel(t.testdir())
  await using whole = await OpenELM.load(directory, { backend: testBackend })
  const expected = await whole.generate([5, 6], { maxTokens: 3, ignoreEos: true })
  rmSync(join(directory, 'tokenizer.json')) // LLaMA's has more tokens than this model
  await using model = await OpenELM.load(directory, { backend: testBackend })
  const result = await model.generate([5, 6], { maxTokens: 3, ignoreEos: true })
  t.same([result.tokens, result.text], [expected.tokens, ''])
  const refused = { code: 'INVALID_TOKENIZER' }
  t.throws(() => model.tokenizer, refused)
  await t.rejects(model.generate('text'), refused)
  await t.rejects(model.generate([5], { stopSequences: ['x'] }), refused)
})
