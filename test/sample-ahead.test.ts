import t from 'tap'
import { OpenELM } from '../lib/index.js'
import { loadNative } from '../lib/native.js'
import type { NativeSampler, NativeSession } from '../lib/native-session.js'
import { readSamplerOptions } from '../lib/sampler-options.js'
import { testBackend, volume } from './helpers/backend.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const prompt = Int32Array.of(5, 6, 7)
const busy = { code: 'BUSY' }

/** What `goesOn` of NativeSession.sample does. */
t.test('one token is drawn ahead', async t => {
  const model = await OpenELM.load(writeTinyModel(t.testdir()), { backend: testBackend })
  t.teardown(() => model.dispose())
  const { vocabSize } = model.config
  const newSession = (contextLength = 64) => model.createSession({ contextLength }).native
  const newSampler = () =>
    new (loadNative().Sampler)(
      vocabSize,
      readSamplerOptions({ temperature: 1, seed: 3 }, vocabSize),
    )

  const draw = async (
    count: number,
    goesOn: boolean,
    session = newSession(),
    sampler = newSampler(),
  ) => {
    const tokens: number[] = []
    for (let next = prompt; tokens.length < count; next = Int32Array.of(tokens.at(-1)!)) {
      tokens.push((await session.sample(next, sampler, goesOn)).token)
    }
    return { tokens, session, sampler }
  }

  /** Whether the session has become one that holds these tokens and nothing else. */
  const holds = async (session: NativeSession, tokens: readonly number[]) => {
    const other = newSession()
    // In the same pieces, for a GPU has kernels of its own for one token.
    const pieces = tokens.slice(prompt.length).map(token => Int32Array.of(token))
    for (const piece of [prompt, ...pieces]) await other.logits(piece, false)
    const next = Int32Array.of(9)
    const expected = await other.logits(next, false)
    const actual = await session.logits(next, false)
    return Buffer.compare(Buffer.from(actual.buffer), Buffer.from(expected.buffer)) === 0
  }

  const count = volume(20, 6)
  const expected = (await draw(count, false)).tokens

  t.test('and the tokens are the same', async t => {
    t.same((await draw(count, true)).tokens, expected)
  })

  t.test('which the session does not show, and forgets when told to', async t => {
    for (const pause of [0, 20]) {
      const { session, tokens } = await draw(4, true)
      await new Promise(resolve => setTimeout(resolve, pause))
      t.equal(session.position, prompt.length + 3)
      await session.whenIdle()
      t.equal(session.position, prompt.length + 3)
      t.ok(await holds(session, [...prompt, ...tokens.slice(0, 3)]))
    }
  })

  t.test('and nothing else can be asked for meanwhile', async t => {
    for (const pause of [0, 20]) {
      const { session, sampler, tokens } = await draw(3, true)
      await new Promise(resolve => setTimeout(resolve, pause))
      const last = tokens.at(-1)!
      const other = Int32Array.of((last + 1) % vocabSize)
      const sample = (next: Int32Array, by: NativeSampler) => session.sample(next, by, true)
      await t.rejects(async () => sample(other, sampler), busy)
      await t.rejects(async () => sample(Int32Array.of(last, last), sampler), busy)
      await t.rejects(async () => sample(Int32Array.of(last), newSampler()), busy)
      await t.rejects(async () => session.logits(Int32Array.of(last), false), busy)
      t.throws(() => session.rewind(0), busy)
      t.throws(() => session.fork(), busy)
      const { token } = await sample(Int32Array.of(last), sampler)
      t.equal(token, expected[3], 'the caller may still go on')
      await session.whenIdle()
      session.rewind(0)
      t.equal(session.position, 0)
    }
  })

  t.test('unless the context is full', async t => {
    const { session, sampler, tokens } = await draw(3, true, newSession(prompt.length + 2))
    t.equal(session.position, session.contextLength)
    t.same(tokens, expected.slice(0, 3))
    await t.rejects(async () => session.sample(Int32Array.of(tokens[2]!), sampler, true), {
      code: 'CONTEXT_OVERFLOW',
    })
  })

  t.test('and a cancelled call leaves nothing behind', async t => {
    const { session, sampler, tokens } = await draw(2, true)
    const call = session.sample(Int32Array.of(tokens[1]!), sampler, true)
    session.cancel()
    await t.rejects(call, { code: 'ABORTED' })
    await session.whenIdle()
    const length = session.position
    t.ok(
      length === prompt.length + 1 || length === prompt.length + 2,
      'it had drawn, or it had not',
    )
    t.ok(await holds(session, [...prompt, ...tokens].slice(0, length)))
  })

  t.test('and is forgotten with the session', async t => {
    for (let i = 0; i < 20; i++) {
      const { session } = await draw(1 + (i % 3), true)
      session.dispose()
      t.equal(session.position, 0)
      await session.whenIdle()
    }
  })

  t.test('while the event loop turns', async t => {
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    const start = performance.now()
    while (performance.now() - start < 50) {
      await model.generate(Array.from(prompt), { maxTokens: 20, ignoreEos: true })
    }
    clearInterval(timer)
    t.ok(turns > 0)
  })
})
