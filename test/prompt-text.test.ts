import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OpenELM } from '../lib/model.js'
import { perplexity } from '../lib/perplexity.js'
import { testBackend } from './helpers/backend.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const directory = writeTinyModel(t.testdir())
const model = await OpenELM.load(directory, { backend: testBackend })
t.teardown(() => model.dispose())

/** Milliseconds of the event loop until `call` gives its promise, and what that rejects with. */
async function timeToRefuse(call: () => Promise<unknown>) {
  const start = performance.now()
  const promise = call()
  const returned = performance.now() - start
  const error = await promise.then(
    () => undefined,
    error => error,
  )
  return { returned, elapsed: performance.now() - start, error }
}

t.test('a text that is too long whatever its tokens are is refused at once', async t => {
  const text = 'a '.repeat(5_000_000)
  const calls = {
    generate: () => model.generate(text),
    stream: () => model.stream(text).next(),
    score: () => model.score(text, 'b'),
    'score, of tokens': () => model.score([5], text),
  }
  for (const [name, call] of Object.entries(calls)) {
    const times: number[] = []
    for (let i = 0; i < 3; i++) {
      const { elapsed, error } = await timeToRefuse(call)
      t.equal(error?.code, 'CONTEXT_OVERFLOW', name)
      t.match(error.message, /^1000000\d characters do not fit in a context of \d+ tokens, /)
      times.push(elapsed)
    }
    t.ok(Math.min(...times) < 20, `${name}: ${times}`)
  }
})

t.test('one of too many tokens is refused by their number', async t => {
  const text = 'a'.repeat(model.contextLength + 5)
  t.ok(text.length <= model.contextLength * model.tokenizer.longestToken)
  await t.rejects(model.generate(text), {
    code: 'CONTEXT_OVERFLOW',
    message: new RegExp(`${text.length + 1} tokens`),
  })
  await t.rejects(model.score(text, 'b'), { code: 'CONTEXT_OVERFLOW' })
})

t.test('an abort ends the work on a text', async t => {
  const text = 'It was a fine evening. '.repeat(200_000)
  const controller = new AbortController()
  const reason = new Error('enough')
  const result = perplexity(model, text, { signal: controller.signal })
  setImmediate(() => controller.abort(reason))
  await t.rejects(result, reason)
})

t.test('a generation ends at any of the end tokens', async t => {
  const options = { maxTokens: 20 }
  const { tokens } = await model.generate('Hello', options)
  const [first, , third] = tokens
  t.ok(third !== first, 'the test needs a model that says different things')
  const end = tokens.indexOf(third!)
  const file = join(directory, 'generation_config.json')
  t.teardown(() => writeFileSync(file, '{}'))
  for (const eos_token_id of [third, [299, third], [third, 2]]) {
    writeFileSync(file, JSON.stringify({ eos_token_id }))
    await using again = await OpenELM.load(directory, { backend: testBackend })
    const result = await again.generate('Hello', options)
    t.same(result.tokens, tokens.slice(0, end + 1))
    t.equal(result.finishReason, 'stop')
    const ignored = await again.generate('Hello', { ...options, ignoreEos: true })
    t.same(ignored.tokens, tokens)
  }
})
