import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OpenELM } from '../lib/model.js'
import { perplexity } from '../lib/perplexity.js'
import { volume } from './helpers/backend.js'
import { writeTestCheckpoint } from './helpers/checkpoints.js'
import { testConfigs } from './helpers/configs.js'
import { page, tinyTokenizer } from './helpers/training.js'
import { logSumExp, referenceLogits } from './reference.js'

const config = { ...testConfigs['odd-widths'], vocab_size: 300, max_context_length: 40 }
const dir = t.testdir()
const { weights } = writeTestCheckpoint(dir, config, { dtype: 'F32', seed: 1 })
writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(tinyTokenizer))
const model = await OpenELM.load(dir)
t.teardown(() => model.dispose())

const text = page.slice(0, volume(250, 100))
const tokens = model.tokenizer.encode(text)

/** Each token after the windows' overlap, as far as the window that scores it reaches back. */
function reference(contextLength: number, stride: number): number {
  let logprob = 0
  for (let i = 1; i < tokens.length; i++) {
    const window = Math.max(0, Math.ceil((i + 1 - contextLength) / stride))
    const context = tokens.slice(window * stride, i)
    const scores = referenceLogits(config, weights, context).slice(-config.vocab_size)
    logprob += scores[tokens[i]!]! - logSumExp(scores)
  }
  return logprob
}

for (const [contextLength, stride] of [
  [40, 20],
  [40, 39],
  [2, 1],
  [30, 7],
] as const) {
  t.test(`windows of ${contextLength}, ${stride} apart`, async t => {
    const logprob = reference(contextLength, stride)
    const result = await perplexity(model, text, { contextLength, stride })
    t.equal(result.tokens, tokens.length - 1)
    t.equal(result.bytes, Buffer.byteLength(text))
    const close = (actual: number, expected: number) => Math.abs(actual / expected - 1) < 1e-5
    t.ok(close(result.perplexity, Math.exp(-logprob / (tokens.length - 1))))
    t.ok(close(result.bitsPerByte, -logprob / Math.LN2 / Buffer.byteLength(text)))
  })
}

t.test('windows are no longer than the context of the model', async t => {
  await using short = await OpenELM.load(dir, { contextLength: 16 })
  t.same(await perplexity(short, text), await perplexity(model, text, { contextLength: 16 }))
  await t.rejects(perplexity(short, text, { contextLength: 17 }), { code: 'INVALID_ARGUMENT' })
  await using long = await OpenELM.load(dir, { contextLength: 64 })
  t.same(await perplexity(long, text), await perplexity(model, text))
})

t.test('half a window is the default; progress and aborts', async t => {
  const reports: number[] = []
  const onProgress = (done: number, total: number) => reports.push(done / total)
  t.same(
    await perplexity(model, text, { onProgress }),
    await perplexity(model, text, { stride: 20 }),
  )
  t.equal(reports.at(-1), 1)
  const signal = AbortSignal.abort(new Error('enough'))
  await t.rejects(perplexity(model, text, { signal }), /enough/)
  await t.rejects(perplexity(model, ''), { code: 'INVALID_ARGUMENT' })
  await t.rejects(perplexity(model, text, { stride: 40 }), { code: 'INVALID_ARGUMENT' })
})

t.test('an abort in the middle of a window ends it', async t => {
  await using nano = await OpenELM.load('openelm-nano', { threads: 1 })
  const long = page.repeat(Math.ceil(4000 / page.length)).slice(0, volume(4000, 400))
  const begin = performance.now()
  await perplexity(nano, long)
  const whole = performance.now() - begin

  const controller = new AbortController()
  const { signal } = controller
  const createSession = nano.createSession.bind(nano)
  let windows = 0
  nano.createSession = options => {
    const session = createSession(options)
    const score = session.scoreChoices.bind(session)
    session.scoreChoices = (...args) => {
      windows++
      setTimeout(() => controller.abort('enough'), whole / 100)
      return score(...args)
    }
    return session
  }
  const onProgress = () => t.fail('a window was completed')
  t.equal(await perplexity(nano, long, { signal, onProgress }).catch(error => error), 'enough')
  t.equal(windows, 1)
  Reflect.deleteProperty(nano, 'createSession')
  t.ok((await perplexity(nano, 'and on')).tokens > 0)
})
