import t from 'tap'
import { type GenerateOptions, OpenELM } from '../lib/index.js'
import { testBackend, volume } from './helpers/backend.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const load = (source: string) => OpenELM.load(source, { backend: testBackend })
const model = await load('openelm-nano')
const twin = await load('openelm-nano')
t.teardown(() => Promise.all([model.dispose(), twin.dispose()]))
const count = volume(40, 8)
const text = 'It was a fine evening. It was a fine evening. It was a fine'
const greedy = { maxTokens: count, ignoreEos: true }
const options: Record<string, GenerateOptions> = {
  greedy,
  sampled: { ...greedy, temperature: 0.8, topP: 0.9, seed: 3 },
  penalised: { ...greedy, temperature: 1, repetitionPenalty: 1.2, frequencyPenalty: 0.2, seed: 4 },
  'log-probabilities': { ...greedy, logprobs: 2 },
  'a stop sequence': { maxTokens: 200, temperature: 1, seed: 5, stopSequences: ['.'] },
  'a schema': { responseConstraint: { enum: ['yes', 'no', 'perhaps'] }, temperature: 1, seed: 6 },
}

// A GPU has kernels of its own for one token, so that its tokens may differ where two are equally good.
t.test('drafts change nothing', { skip: testBackend !== 'cpu' && 'CPU bits' }, async t => {
  for (const [name, generating] of Object.entries(options)) {
    const expected = await model.generate(text, generating)
    t.notOk('acceptedDraftTokens' in expected.usage)
    for (const drafting of [{ draftModel: twin }, { promptLookup: true }]) {
      for (const numDraftTokens of [1, 5, 16]) {
        const drafted = await model.generate(text, { ...generating, ...drafting, numDraftTokens })
        const { acceptedDraftTokens, ...usage } = drafted.usage
        t.same([drafted.text, drafted.tokens], [expected.text, expected.tokens], name)
        t.same([usage, drafted.finishReason], [expected.usage, expected.finishReason], name)
        t.ok(acceptedDraftTokens! <= usage.completionTokens)
      }
    }
  }
})

t.test('a model guesses its own tokens', async t => {
  const { usage, tokens } = await model.generate(text, { ...greedy, draftModel: twin })
  t.equal(tokens.length, count)
  t.ok(usage.acceptedDraftTokens! >= count / 2, `${usage.acceptedDraftTokens}`)
})

t.test('a session keeps what the draft model holds', async t => {
  using session = model.createSession()
  const turns = [' and', ' but', ' or']
  let before = twin.memory.kvCache
  for (const turn of turns) {
    const expected = await model.generate(
      [...session.tokens, ...model.tokenizer.encode(turn, { addBos: session.position === 0 })],
      greedy,
    )
    const result = await session.generate(turn, { ...greedy, draftModel: twin })
    if (testBackend === 'cpu') t.same(result.tokens, expected.tokens)
    t.equal(session.position, session.tokens.length)
    if (turn === turns[0]) before = twin.memory.kvCache
    t.equal(twin.memory.kvCache, before, 'one cache for all turns')
  }
  session.dispose()
  t.equal(twin.memory.kvCache, 0, 'whose memory is given back')
})

t.test('a generation that is left leaves the session right', async t => {
  using session = model.createSession()
  for (const drafting of [{ draftModel: twin }, { promptLookup: true }]) {
    for (const most of [1, 3, 7]) {
      session.rewind(0)
      const expected = await session.generate(text, greedy)
      session.rewind(0)
      const taken: number[] = []
      for await (const { token } of session.stream(text, { ...greedy, ...drafting })) {
        taken.push(token)
        if (taken.length === most) break
      }
      const rest = await session.generate('', { ...greedy, maxTokens: count - most })
      if (testBackend === 'cpu') t.same([...taken, ...rest.tokens], expected.tokens)
      t.equal(session.position, session.tokens.length)
    }
    const controller = new AbortController()
    const stream = session.stream('', { ...greedy, ...drafting, signal: controller.signal })
    await stream.next()
    controller.abort()
    await t.rejects(stream.next(), { name: 'AbortError' })
  }
})

t.test('a draft model may end at any time', async t => {
  const gone = await load('openelm-nano')
  const stream = model.stream(text, { ...greedy, draftModel: gone })
  await stream.next()
  await gone.dispose()
  let more = 0
  for await (const { token } of stream) more += token < model.config.vocabSize ? 1 : 0
  t.equal(more, count - 1)
  await t.rejects(model.generate(text, { draftModel: gone }), { code: 'DISPOSED' })
})

t.test('drafts are refused that cannot be', async t => {
  const invalid = (argument: string) => ({ code: 'INVALID_ARGUMENT', argument })
  const wrong = (options: object) => () => model.stream(text, options)
  const other = await load(writeTinyModel(t.testdir()))
  t.teardown(() => other.dispose())
  t.throws(wrong({ draftModel: other }), invalid('options.draftModel'))
  t.throws(wrong({ draftModel: 'openelm-nano' }), invalid('options.draftModel'))
  t.throws(wrong({ draftModel: {} }), invalid('options.draftModel'))
  t.throws(wrong({ numDraftTokens: 0 }), invalid('options.numDraftTokens'))
  t.throws(wrong({ numDraftTokens: 17 }), invalid('options.numDraftTokens'))
  t.throws(wrong({ promptLookup: 1 }), invalid('options.promptLookup'))
  const both = { draftModel: twin, promptLookup: true }
  t.throws(wrong(both), invalid('options.promptLookup'))
})
