import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type GenerateOptions, OpenELM } from '../lib/index.js'
import { isEmulated, testBackend, untilIdle, volume } from './helpers/backend.js'
import { childRunner } from './helpers/child.js'
import { writeSparseCheckpoint } from './helpers/sparse-checkpoint.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const directory = t.testdir({ tiny: {}, large: {}, child: {} })
const tiny = writeTinyModel(join(directory, 'tiny'))
// Large enough for seconds of work, and quickly loaded.
const large = writeSparseCheckpoint(join(directory, 'large'), '1.1B', 'q4')
const runInChild = childRunner(join(directory, 'child'))

const promptOf = (length: number, seed = 1) =>
  Array.from({ length }, (_, i) => 3 + ((i * i * 7 + i * seed) % 256))
const endless: GenerateOptions = { maxTokens: volume(250, 12), ignoreEos: true }
const long = volume(200, 40)
const skipOnGpus =
  testBackend !== 'cpu' && 'only the cpu backend promises the same bits in any company'

/** Generations for as long as the model lets them. */
async function generateForEver(model: OpenELM): Promise<never> {
  for (;;) await model.generate(promptOf(3), endless)
}

/** What a promise was rejected with. */
async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it was not rejected',
    reason => reason,
  )
}

t.test('at the same time', async t => {
  for (const dtype of ['float32', 'q4'] as const) {
    const name = `eight generations give what each gives alone, ${dtype}`
    t.test(name, { skip: skipOnGpus }, async t => {
      await using model = await OpenELM.load(tiny, { dtype })
      const calls = [1, 2, 17, 100, 128, 129, 150, 200].map((length, i) => {
        const prompt = promptOf(length, i)
        const sampler = i % 2 === 0 ? {} : { temperature: 1.5, topK: 200, seed: i }
        return { prompt, options: { ...sampler, maxTokens: 50, ignoreEos: true } }
      })
      const alone: number[][] = []
      for (const { prompt, options } of calls) {
        alone.push((await model.generate(prompt, options)).tokens)
      }
      t.equal(new Set(alone.map(String)).size, calls.length, 'all different')

      const results = await Promise.all(
        calls.map(({ prompt, options }) => model.generate(prompt, options)),
      )
      t.same(
        results.map(result => result.tokens),
        alone,
      )
    })
  }

  t.test('sessions in turns give what each gives alone', { skip: skipOnGpus }, async t => {
    await using model = await OpenELM.load(tiny)
    const pieces = [5, 1, 1, 140, 1, 30, 2].map((length, i) => promptOf(length, i))
    const runAlone = async (shift: number) => {
      using session = model.createSession()
      const logits: Float32Array[] = []
      for (const piece of pieces) logits.push(await session.append(piece.map(id => id + shift)))
      return logits
    }
    const alone = [await runAlone(0), await runAlone(1), await runAlone(2)]

    const sessions = alone.map(() => model.createSession())
    for (const [step, piece] of pieces.entries()) {
      const logits = await Promise.all(
        sessions.map((session, shift) => session.append(piece.map(id => id + shift))),
      )
      t.same(
        logits,
        alone.map(logits => logits[step]),
      )
    }
    for (const session of sessions) session.dispose()
    t.equal(model.memory.kvCache, 0)
  })

  t.test('one session does one thing', async t => {
    await using model = await OpenELM.load(tiny)
    using undisturbed = model.createSession()
    const expected = await undisturbed.append(promptOf(3))

    using session = model.createSession()
    const append = session.append(promptOf(3))
    const busy = { code: 'BUSY' }
    await t.rejects(session.append([5]), busy)
    t.throws(() => session.rewind(0), busy)
    t.throws(() => session.fork(), busy)
    t.same(await append, expected)
    t.equal(session.position, 3)
    using fork = session.fork()
    t.same(await fork.append([5]), await session.append([5]))
  })
})

t.test('abort', async t => {
  const model = await OpenELM.load(tiny)
  t.teardown(() => model.dispose())
  const { tokens } = await model.generate(promptOf(9), endless)
  const works = async () => (await model.generate(promptOf(9), endless)).tokens
  const reason = { because: 'an object of the caller' }

  t.test('before the start', async t => {
    const signal = AbortSignal.abort(reason)
    t.equal(await reasonOf(OpenELM.load(tiny, { signal })), reason)
    t.equal(await reasonOf(model.generate([5], { signal })), reason)
    t.equal(await reasonOf(model.stream([5], { signal }).next()), reason)
    t.match(await reasonOf(model.generate([5], { signal: AbortSignal.abort() })), {
      name: 'AbortError',
    })
    t.match(await reasonOf(model.generate([5], { signal: AbortSignal.abort(0) })), 0)
    t.equal(model.memory.kvCache, 0)
    t.same(await works(), tokens)
  })

  t.test('during a generation', async t => {
    for (let i = 0; i < volume(50, 3); i++) {
      const controller = new AbortController()
      const calls = [0, 1, 2].map(() =>
        reasonOf(model.generate(promptOf(long), { ...endless, signal: controller.signal })),
      )
      const other = works()
      await setTimeout(Math.random() * 10)
      controller.abort(reason)
      for (const call of calls) {
        const outcome = (await call) as { tokens?: number[] }
        if (outcome !== reason) t.equal(outcome, 'it was not rejected')
      }
      t.same(await other, tokens)
    }
    await untilIdle(model)
    t.same(await works(), tokens)
  })

  t.test('between two tokens', async t => {
    const controller = new AbortController()
    const stream = model.stream(promptOf(9), { ...endless, signal: controller.signal })
    await stream.next()
    controller.abort(reason)
    t.equal(await reasonOf(stream.next()), reason)
    await untilIdle(model)
  })

  t.test('by leaving the loop', async t => {
    for await (const { token } of model.stream(promptOf(9), endless)) {
      t.equal(token, tokens[0])
      t.ok(model.memory.kvCache > 0)
      break
    }
    await untilIdle(model)
  })

  t.test('during a load', async t => {
    const controller = new AbortController()
    const progress: number[] = []
    const load = OpenELM.load(large, {
      signal: controller.signal,
      onProgress: (loaded, total) => {
        progress.push(loaded / total)
        controller.abort(reason)
      },
    })
    t.equal(await reasonOf(load), reason)
    t.ok(progress[0]! > 0 && progress[0]! < 0.5)
  })

  t.test('when a load has just ended', async t => {
    const controller = new AbortController()
    const options = { signal: controller.signal, onProgress: () => controller.abort(reason) }
    t.equal(await reasonOf(OpenELM.load(tiny, options)), reason)
  })
})

const skipLarge = isEmulated && 'an emulator takes minutes for a prefill'

t.test('an abort that comes after the pass, but before its end is heard', async t => {
  await using model = await OpenELM.load(tiny)
  using session = model.createSession()
  await session.append(promptOf(2))
  const call = reasonOf(session.native.logits(Int32Array.from(promptOf(9)), false))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, volume(300, 3000))
  session.native.cancel()
  t.match(await call, { code: 'ABORTED' })
  await session.native.whenIdle()
  t.equal(session.native.position, 2)
})

t.test('a model of 1.1B parameters', { skip: skipLarge }, async t => {
  const model = await OpenELM.load(large)
  t.teardown(() => model.dispose())
  const prompt = promptOf(1500)

  /** Aborts prefills at random moments, and measures until `isOver`. */
  async function checkAborts(t: Test, isOver: () => unknown): Promise<void> {
    const times: number[] = []
    while (times.length < 15) {
      const controller = new AbortController()
      const call = reasonOf(model.generate(prompt, { signal: controller.signal }))
      await setTimeout(20 + Math.random() * 400)
      const start = performance.now()
      controller.abort('enough')
      t.equal(await call, 'enough')
      await isOver()
      times.push(performance.now() - start)
    }
    times.sort((a, b) => a - b)
    const [median, worst] = [times[7]!, times.at(-1)!]
    t.comment(`median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`)
    t.ok(median < 100, 'one slow moment of the machine does not count')
  }

  t.test('aborts a prefill within 100 ms, and is ready for the next', async t => {
    await checkAborts(t, () => untilIdle(model))
    t.equal((await model.generate([5], { maxTokens: 2, ignoreEos: true })).tokens.length, 2)
  })

  t.test('does not let an aborted call wait for others', async t => {
    const controller = new AbortController()
    const { signal } = controller
    const other = reasonOf(model.generate(prompt, { signal, maxTokens: 500, ignoreEos: true }))
    await checkAborts(t, () => {})
    controller.abort('enough')
    t.equal(await other, 'enough')
    await untilIdle(model)
  })

  t.test('leaves the event loop and its thread pool alone', async t => {
    let turns = 0
    let isOver = false
    const count = async () => {
      for (; !isOver; turns++) await setImmediate()
    }
    const counting = count()
    const { tokens } = await model.generate([5, 6], { maxTokens: 3, ignoreEos: true })
    isOver = true
    await counting
    t.ok(turns > 100 * tokens.length, `${turns} turns in ${tokens.length} tokens`)

    const others = [1, 2, 3, 4, 5].map(id => model.generate([id], { maxTokens: 1 }))
    const first = await Promise.race([Promise.all(others), readFile(join(large, 'config.json'))])
    t.ok(Buffer.isBuffer(first))
    await Promise.all(others)
  })
})

t.test('dispose', async t => {
  const disposed = { name: 'OpenELMError', code: 'DISPOSED' }

  t.test('ends what is under way, and what comes later', async t => {
    for (let i = 0; i < volume(20, 3); i++) {
      const model = await OpenELM.load(tiny)
      const session = model.createSession()
      const calls = [
        generateForEver(model),
        generateForEver(model),
        model.stream(promptOf(long), endless).next(),
        model.logits(promptOf(long)),
        model.score(promptOf(long / 2), promptOf(long / 2)),
        session.append(promptOf(long)),
      ]
      const outcomes = Promise.all(calls.map(reasonOf))
      await setTimeout(Math.random() * 4)
      await Promise.all([model.dispose(), model.dispose()])
      for (const outcome of await outcomes) {
        if (outcome !== 'it was not rejected') t.match(outcome, disposed)
      }

      await t.rejects(model.generate([5]), disposed)
      await t.rejects(model.stream([5]).next(), disposed)
      await t.rejects(model.logits([5]), disposed)
      await t.rejects(model.score([5], [5]), disposed)
      await t.rejects(session.append([5]), disposed)
      t.throws(() => model.createSession(), disposed)
      t.throws(() => session.fork(), disposed)
      session.dispose()
      session.dispose()
      await model.dispose()
      t.same(model.memory, { weights: 0, kvCache: 0 })
    }
  })

  t.test('of a session ends its call, and nothing else', async t => {
    await using model = await OpenELM.load(tiny)
    const { tokens } = await model.generate(promptOf(9), endless)
    for (let i = 0; i < volume(20, 3); i++) {
      const session = model.createSession()
      const append = reasonOf(session.append(promptOf(long)))
      const other = model.generate(promptOf(9), endless)
      session.dispose()
      t.match(await append, disposed)
      await t.rejects(session.append([5]), disposed)
      t.throws(() => session.rewind(0), disposed)
      t.equal(session.position, 0)
      t.same((await other).tokens, tokens)
    }
    await untilIdle(model)
  })

  t.test('a second call waits for the memory, too', { skip: skipLarge }, async t => {
    const model = await OpenELM.load(large)
    const outcome = reasonOf(model.logits(promptOf(500)))
    await setTimeout(100)
    const first = model.dispose()
    await model.dispose()
    t.same(model.memory, { weights: 0, kvCache: 0 })
    await first
    t.match(await outcome, disposed)
  })

  t.test('by `using`', async t => {
    let kept: OpenELM
    {
      await using model = await OpenELM.load(tiny)
      using session = model.createSession()
      await session.append([5])
      kept = model
    }
    await t.rejects(kept.generate([5]), disposed)
  })
})

t.test('the process', async t => {
  t.test('ends by itself, whatever was not disposed', async t => {
    const { exit, stderr, result } = await runInChild(
      async ({ OpenELM }, tiny) => {
        const model = await OpenELM.load(tiny)
        const session = model.createSession()
        await session.append([5])
        for await (const _ of model.stream([5])) break
        const idle = model.stream([5])
        await idle.next()
        return model.backend
      },
      [tiny],
    )
    t.same({ exit, stderr, result }, { exit: 0, stderr: '', result: testBackend })
  })

  t.test('waits for work', async t => {
    const maxTokens = volume(100, 12)
    const { exit, result } = await runInChild(
      async ({ OpenELM }, tiny, maxTokens) => {
        const model = await OpenELM.load(tiny)
        const { tokens } = await model.generate([5], { maxTokens, ignoreEos: true })
        await model.dispose()
        return tokens.length
      },
      [tiny, maxTokens] as const,
    )
    t.same({ exit, result }, { exit: 0, result: maxTokens })
  })

  t.test('can end in the middle of everything', async t => {
    for (const how of ['exit', 'throw']) {
      const outcomes = [1, 2, 3, 4, 5].map(() =>
        runInChild(
          async ({ OpenELM }, tiny, large, how) => {
            const model = await OpenELM.load(tiny)
            const generateForEver = async () => {
              for (;;) await model.generate([5, 6, 7], { maxTokens: 200, ignoreEos: true })
            }
            for (const work of [generateForEver(), generateForEver(), OpenELM.load(large)]) {
              work.catch(() => {})
            }
            globalThis.setTimeout(() => {
              if (how === 'throw') throw new Error('nobody catches this')
              process.exit(7)
            }, Math.random() * 100)
            await new Promise(() => {})
          },
          [tiny, large, how],
        ),
      )
      for (const outcome of outcomes) {
        const { exit, stderr } = await outcome
        t.equal(exit, how === 'throw' ? 1 : 7)
        t.match(stderr, how === 'throw' ? /nobody catches this/ : /^$/)
      }
    }
  })
})

t.test('every call is aborted while it is computed, or before', async t => {
  // A pass that has begun is waited for, and an emulator takes a minute for one of the large model.
  const source = isEmulated ? tiny : large
  await using model = await OpenELM.load(source, { backend: testBackend })
  using session = model.createSession()
  await session.append([5])
  const [one, many] = [promptOf(1), promptOf(200)]
  const calls: ((options: { signal: AbortSignal }) => Promise<unknown>)[] = [
    options => model.score(one, many, options),
    options => model.scores(many, options),
    options => model.logits(many, options),
    options => session.append(many, options),
    options => session.score(many, options),
    options => session.scores(many, options),
    options => session.generate(many, options),
  ]
  for (const call of calls) {
    const controller = new AbortController()
    const reason = new Error('enough')
    const { signal } = controller
    const outcome = reasonOf(call({ signal }))
    await setTimeout(10)
    controller.abort(reason)
    t.equal(await outcome, reason, String(call))
    t.equal(await reasonOf(call({ signal })), reason, 'or before')
    t.same(session.tokens, [5])
  }
  t.ok(await session.append([6]), 'and the session can be used')
})

t.test('a model may be disposed of when the process is about to end', async t => {
  const { result, exit, stderr } = await runInChild(
    async ({ OpenELM }, source) => {
      const model = await OpenELM.load(source)
      let calls = 0
      process.on('beforeExit', () => {
        if (++calls > 100) process.exit(7)
        return model.dispose()
      })
      return 'loaded'
    },
    [tiny],
  )
  t.same({ result, exit, stderr }, { result: 'loaded', exit: 0, stderr: '' })
})
