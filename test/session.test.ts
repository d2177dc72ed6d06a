import t from 'tap'
import { type GenerateResult, OpenELM, Sampler, Session } from '../lib/index.js'
import { loadNative } from '../lib/native.js'
import { testBackend, untilIdle, volume } from './helpers/backend.js'

const model = await OpenELM.load('openelm-nano', { backend: testBackend })
t.teardown(() => model.dispose())
const prompt = 'It was a fine evening, and'
const ids = model.tokenizer.encode(prompt)
const count = volume(24, 6)
const busy = { code: 'BUSY' }
const disposed = { code: 'DISPOSED' }
const skipOnGpus =
  testBackend !== 'cpu' && 'only the cpu backend promises the same bits however text is cut'

/** Sampling that depends on the whole text before. */
const sampling = { temperature: 0.9, topP: 0.95, repetitionPenalty: 1.2, repetitionContextSize: 40 }

t.test('a model tells what it is', async t => {
  t.equal(model.contextLength, 512)
  const { device } = loadNative()
    .backends()
    .find(({ name }) => name === testBackend)!
  t.equal(model.device, device)
})

t.test('a session goes on where it was', { skip: skipOnGpus }, async t => {
  const greedy = { maxTokens: count, ignoreEos: true, repetitionPenalty: 1.2 }
  const whole = await model.generate(prompt, { ...greedy, maxTokens: 2 * count })

  using session = model.createSession()
  const first = await session.generate(prompt, greedy)
  t.equal(session.position, ids.length + count, 'the last token is part of the text')
  t.same(session.tokens, [...ids, ...first.tokens])
  const second = await session.generate('', greedy)
  t.equal(first.text + second.text, whole.text)
  t.same([...first.tokens, ...second.tokens], whole.tokens)
  t.equal(second.usage.promptTokens, 0)

  session.rewind(ids.length)
  t.same((await session.generate('', greedy)).tokens, first.tokens)

  const text = ' He went home.'
  const more = model.tokenizer.encode(text, { addBos: false })
  const third = await session.generate(text, greedy)
  t.equal(third.usage.promptTokens, more.length, 'without a beginning of text')
  const said = [...ids, ...first.tokens, ...more]
  t.same(third.tokens, (await model.generate(said, greedy)).tokens)
})

t.test('seeds draw the same in a session as in one generation', { skip: skipOnGpus }, async t => {
  const options = { ...sampling, maxTokens: count, seed: 5, presencePenalty: 0.5 }
  using session = model.createSession()
  await session.append(ids.slice(0, 3))
  t.same(
    (await session.generate(ids.slice(3), options)).tokens,
    (await model.generate(ids, options)).tokens,
    'penalties see what the session held before',
  )
})

t.test('what is appended, scored, rewound and appended again', async t => {
  using session = model.createSession({ contextLength: 64 })
  t.equal(session.contextLength, 64)
  const logits = await session.append(ids)
  t.equal(session.position, ids.length)
  const score = await session.score(' the')
  t.equal(session.position, ids.length, 'a score appends nothing')
  const expected = await model.score(ids, model.tokenizer.encode(' the', { addBos: false }))
  t.ok(Math.abs(score.logprob - expected.logprob) < 1e-4)
  t.same([score.tokens, score.isGreedy], [expected.tokens, expected.isGreedy])

  const list = await session.scores([5, 6], { top: 3 })
  t.same(
    list.map(({ token, topLogprobs }) => [token, topLogprobs.length]),
    [
      [5, 3],
      [6, 3],
    ],
  )
  const all = await model.scores([...ids, 5, 6], { top: 3 })
  t.equal(all.length, ids.length + 1, 'the first token has none before it')
  t.ok(Math.abs(all.at(-1)!.logprob - list[1]!.logprob) < 1e-4)
  t.ok(Math.abs(all.at(-2)!.logprob - list[0]!.logprob) < 1e-4)

  session.rewind(0)
  const again = await session.append(ids)
  t.ok(logits.every((logit, i) => Math.abs(logit - again[i]!) < 1e-3))
  await t.rejects(session.append(new Array(64).fill(5)), { code: 'CONTEXT_OVERFLOW' })
  t.equal(session.position, ids.length)
  using empty = model.createSession()
  await t.rejects(empty.score('x'), { code: 'INVALID_ARGUMENT' })
  t.same(
    (await empty.scores([5, 6])).map(({ token }) => token),
    [6],
  )
  t.same(await empty.scores([5]), [])
})

t.test('what the cache holds costs nothing', async t => {
  using session = model.createSession()
  const { tokens } = await session.generate(ids, { maxTokens: 5, ignoreEos: true })
  session.rewind(0)
  const other = [...ids, ...tokens.slice(0, 2), (tokens[2]! + 1) % 1000, 7]
  const { usage } = await session.generate(other, { maxTokens: 1 })
  t.same([usage.promptTokens, usage.cachedTokens], [other.length, ids.length + 2])
})

t.test('forks go on independently', async t => {
  using session = model.createSession()
  await session.append(ids)
  using fork = session.fork()
  t.ok(fork instanceof Session)
  const options = { maxTokens: count, ignoreEos: true }
  const [a, b] = await Promise.all([
    session.generate('', options),
    fork.generate('', { ...options, temperature: 1.5, seed: 3 }),
  ])
  t.same(a.tokens, (await model.generate(ids, options)).tokens)
  t.not(a.text, b.text)
  t.same(fork.tokens, [...ids, ...b.tokens])
})

t.test('a session does one thing at a time', async t => {
  using session = model.createSession()
  const stream = session.stream(ids, { maxTokens: 20, ignoreEos: true })
  await stream.next()
  t.equal(session.position, ids.length + 1)
  await t.rejects(session.append([5]), busy)
  await t.rejects(session.generate([5]), busy)
  await t.rejects(session.scores([5]), busy)
  t.throws(() => session.rewind(0), busy)
  t.throws(() => session.fork(), busy)
  await stream.return(undefined as never)
  session.rewind(ids.length)
  using fork = session.fork()
  t.same(fork.tokens, ids)
})

t.test('an abort leaves a session with what was given', async t => {
  const reason = new Error('enough')
  const options = { maxTokens: 100, ignoreEos: true }
  const { tokens } = await model.generate(ids, { ...options, maxTokens: 12 })
  for (const given of [0, 1, 4]) {
    using session = model.createSession()
    await session.append(ids.slice(0, 2))
    const controller = new AbortController()
    const stream = session.stream(ids.slice(2), { ...options, signal: controller.signal })
    for (let i = 0; i < given; i++) await stream.next()
    const next = stream.next()
    controller.abort(reason)
    await t.rejects(next, reason)
    await t.rejects(stream.result, reason)
    t.same(session.tokens, given === 0 ? ids.slice(0, 2) : [...ids, ...tokens.slice(0, given)])
    const rest = given === 0 ? ids.slice(2) : []
    const result = await session.generate(rest, { ...options, maxTokens: 12 - given })
    t.same(result.tokens, tokens.slice(given), 'and it goes on as if nothing had been')
  }
  using session = model.createSession()
  const signal = AbortSignal.abort(reason)
  await t.rejects(session.append(ids, { signal }), reason)
  await t.rejects(session.scores(ids, { signal }), reason)
  await t.rejects(model.logits(ids, { signal }), reason)
  await t.rejects(model.scores(ids, { signal }), reason)
  t.equal(session.position, 0)
})

t.test('after dispose nothing can be done', async t => {
  const session = model.createSession()
  const stream = session.stream(ids, { maxTokens: 100, ignoreEos: true })
  await stream.next()
  session.dispose()
  session.dispose()
  t.equal(session.position, 0)
  await t.rejects(stream.next(), disposed)
  await t.rejects(session.append([5]), disposed)
  await t.rejects(session.generate([5]), disposed)
  t.throws(() => session.rewind(0), disposed)
  t.throws(() => session.fork(), disposed)
})

t.test('a stream tells its result', async t => {
  const expected = await model.generate(prompt, { maxTokens: 5 })
  const stream = model.stream(prompt, { maxTokens: 5 })
  let text = ''
  for await (const chunk of stream) text += chunk.text
  const result = await stream.result
  t.equal(text, expected.text)
  t.same({ ...result, timings: 0 }, { ...expected, timings: 0 })

  const left = model.stream(prompt)
  for await (const _ of left) break
  await t.rejects(left.result, { name: 'AbortError' })
  const unused = model.stream(prompt)
  await unused.return(undefined as never)
  await t.rejects(unused.result, { name: 'AbortError' })
  t.same(await unused.next(), { done: true, value: undefined })
  const thrown = model.stream(prompt)
  await t.rejects(thrown.throw(new Error('mine')), /mine/)
  await t.rejects(thrown.result, /mine/)
})

t.test('arguments are checked by the call', async t => {
  const invalid = { code: 'INVALID_ARGUMENT' }
  using session = model.createSession()
  for (const owner of [model, session]) {
    t.throws(() => owner.stream('x', { maxTokens: -1 }), invalid)
    t.throws(() => owner.stream('x', { maxTokenss: 1 } as object), invalid)
    t.throws(() => owner.stream([-1]), invalid)
    t.throws(() => owner.stream([]), invalid)
    t.throws(() => owner.stream([{ role: 'robot', content: 'x' }] as never), invalid)
    t.throws(() => owner.stream('x', { stopTokens: [2048] }), invalid)
    t.throws(() => owner.stream('x', { logitBias: { 2048: 1 } }), invalid)
  }
  await session.append([5])
  await t.rejects(session.generate([{ role: 'user', content: 'x' }]), invalid)
})

t.test('a generation takes memory for just its length, and gives it back', async t => {
  await untilIdle(model)
  const whole = model.createSession()
  const bytes = model.memory.kvCache
  whole.dispose()
  await untilIdle(model)
  for await (const _ of model.stream(ids, { maxTokens: 20, ignoreEos: true })) {
    t.ok(model.memory.kvCache > 0)
    t.ok(model.memory.kvCache <= bytes / 2, '27 of 512 tokens, where blocks have at most 256')
    break
  }
  t.equal(model.memory.kvCache, 0, 'as soon as the loop is left')
  const { tokens } = await model.generate(ids.slice(0, 1), { maxTokens: 1e9, ignoreEos: true })
  t.equal(tokens.length, model.contextLength)
})

t.test('a hundred generations share a signal without a warning', async t => {
  const warnings: Error[] = []
  const listen = (warning: Error) => warnings.push(warning)
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  const controller = new AbortController()
  const { signal } = controller
  const one = { maxTokens: 2, signal, ignoreEos: true }
  await Promise.all(Array.from({ length: 100 }, () => model.generate([5], one)))
  const endless = { maxTokens: 400, signal, ignoreEos: true }
  const calls = Array.from({ length: volume(30, 3) }, () => model.generate([5], endless))
  const outcomes = Promise.allSettled(calls)
  setTimeout(() => controller.abort('enough'), 20)
  for (const outcome of await outcomes) t.match(outcome, { status: 'rejected', reason: 'enough' })
  await new Promise(resolve => setImmediate(resolve))
  t.same(warnings, [])
})

t.test('stop tokens end a generation, and are none of its text', async t => {
  const options = { maxTokens: 10, ignoreEos: true }
  const { tokens } = await model.generate(prompt, options)
  const stopTokens = [2000, tokens[4]!]
  const end = tokens.indexOf(tokens[4]!)
  const check = (result: GenerateResult) => {
    t.equal(result.finishReason, 'stop')
    t.same(result.tokens, tokens.slice(0, end + 1))
    const before = model.tokenizer.decode(tokens.slice(0, end), { continuation: true })
    t.equal(result.text, before)
  }
  check(await model.generate(prompt, { ...options, stopTokens }))
  check(await model.generate(prompt, { ...options, stopTokens: Int32Array.from(stopTokens) }))
})

t.test('biases and penalties take part in a generation', async t => {
  const options = { maxTokens: 12, ignoreEos: true }
  const { tokens } = await model.generate(prompt, options)
  const banned = await model.generate(prompt, { ...options, logitBias: { [tokens[0]!]: -100 } })
  t.notOk(banned.tokens.includes(tokens[0]!))
  const forced = await model.generate(prompt, { ...options, logitBias: new Map([[42, 100]]) })
  t.same(forced.tokens, new Array(12).fill(42))
  const varied = await model.generate(prompt, {
    ...options,
    logitBias: { 42: 100, 43: 99, 44: 98 },
    frequencyPenalty: 1.5,
  })
  t.same(new Set(varied.tokens), new Set([42, 43, 44]))
})

t.test('a loop of your own draws what generate draws', async t => {
  const options = { ...sampling, seed: 11, frequencyPenalty: 0.3, logitBias: { 42: 1 } }
  const { tokens } = await model.generate(ids, { ...options, maxTokens: count, ignoreEos: true })
  using session = model.createSession()
  const sampler = new Sampler(model.config.vocabSize, options)
  const drawn: number[] = []
  for (let next = ids; drawn.length < count; ) {
    sampler.accept(next)
    const { token } = sampler.sample(await session.append(next))
    drawn.push(token)
    next = [token]
  }
  t.same(drawn, tokens)
})

t.test('token ids may lie in any array of integers that libraries give', async t => {
  const { tokens } = await model.generate(ids, { maxTokens: 3 })
  for (const type of [Int32Array, Uint32Array, Uint16Array]) {
    t.same((await model.generate(type.from(ids), { maxTokens: 3 })).tokens, tokens)
    t.equal(model.tokenizer.decode(type.from(ids)), prompt)
  }
})

t.test('what a caller does between two tokens is not the time of a generation', async t => {
  const stopSequences = ['nothing like this']
  const stream = model.stream(prompt, { maxTokens: 6, ignoreEos: true, stopSequences })
  stopSequences[0] = 'e' // which the stream does not see
  const pause = 60
  for await (const _ of stream) await new Promise(resolve => setTimeout(resolve, pause))
  const { timings, finishReason, usage } = await stream.result
  t.equal(finishReason, 'length')
  t.ok(timings.decodeMs < (usage.completionTokens - 1) * pause)
})
