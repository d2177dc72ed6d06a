import { join } from 'node:path'
import t from 'tap'
import { type GenerateOptions, OpenELM } from '../lib/index.js'
import { volume } from './helpers/backend.js'
import { childRunner } from './helpers/child.js'
import { writeRandomAdapter } from './helpers/random-adapter.js'
import { writeSparseCheckpoint } from './helpers/sparse-checkpoint.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const directory = t.testdir({ tiny: {}, large: {}, child: {} })
const tiny = writeTinyModel(join(directory, 'tiny'))
const large = writeSparseCheckpoint(join(directory, 'large'), '1.1B', 'q4')
const runInChild = childRunner(join(directory, 'child'))

t.test('a worker can be terminated at any moment', async t => {
  const rounds = volume(50, 6)
  const adapters = [
    await writeRandomAdapter(join(directory, 'adapter'), tiny, 'dora'),
    await writeRandomAdapter(join(directory, 'large adapter'), large, 'dora'),
  ]
  const { result, exit, stderr } = await runInChild(
    async ({ OpenELM, startWorker, usage }, tiny, large, adapters, rounds) => {
      const { setTimeout } = await import('node:timers/promises')
      const start = (directory: string, adapter: string) =>
        startWorker(
          async ({ OpenELM, tell }, directory, adapter) => {
            tell('started')
            const model = await OpenELM.load(directory)
            tell('loaded')
            const forEver = async (call: () => Promise<unknown>) => {
              for (;;) await call()
            }
            const prompt = Array.from({ length: 150 }, (_, i) => i)
            await Promise.all([
              forEver(() =>
                model.generate(prompt, { maxTokens: 50, ignoreEos: true, logprobs: 3 }),
              ),
              forEver(() =>
                model.generate([5], { maxTokens: 200, ignoreEos: true, temperature: 1 }),
              ),
              forEver(() => model.logits(prompt)),
              forEver(() => model.score(prompt, [1, 2, 3])),
              forEver(() => model.createSession().append(prompt)),
              forEver(async () => {
                if (model.backend !== 'cpu') return await model.logits(prompt)
                const name = await model.loadAdapter(adapter)
                await model.generate([5], { adapter: name, maxTokens: 9 })
                model.unloadAdapter(name)
              }),
              forEver(async () => {
                const model = await OpenELM.load(directory, { onProgress: () => {} })
                await model.dispose()
              }),
            ])
          },
          directory,
          adapter,
        )

      const model = await OpenELM.load(tiny)
      const generate = async () => (await model.generate([5], { maxTokens: 9 })).tokens.join()
      const expected = await generate()
      let threads: number | undefined
      let intact = 0
      for (let round = 0; round < rounds; round++) {
        const worker = round % 5 === 4 ? start(large, adapters[1]!) : start(tiny, adapters[0]!)
        await new Promise(resolve => worker.once('message', resolve))
        await setTimeout(Math.random() * 60)
        await worker.terminate()
        if ((await generate()) === expected) intact++
        threads ??= usage().threads
      }
      return { intact, threadsLeft: usage().threads - threads! }
    },
    [tiny, large, adapters, rounds] as const,
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  t.same(result, { intact: rounds, threadsLeft: 0 }, 'and the others do not notice')
})

t.test('workers at the same time generate what one would', async t => {
  await using model = await OpenELM.load(tiny)
  const maxTokens = volume(100, 15)
  const options: GenerateOptions = { maxTokens, temperature: 1, seed: 5, ignoreEos: true }
  const { tokens } = await model.generate([5, 6, 7], options)
  const { result, exit, stderr } = await runInChild(
    async ({ startWorker }, tiny: string, options: GenerateOptions) => {
      const workers = [1, 2, 3, 4].map(() =>
        startWorker(
          async ({ OpenELM, tell }, tiny, options) => {
            const model = await OpenELM.load(tiny)
            for (let i = 0; i < 5; i++) tell((await model.generate([5, 6, 7], options)).tokens)
          },
          tiny,
          options,
        ),
      )
      const received = workers.map(
        worker =>
          new Promise<unknown[]>((resolve, reject) => {
            const messages: unknown[] = []
            worker.on('message', message => messages.push(message))
            worker.on('error', reject)
            worker.on('exit', code => resolve([code, ...messages]))
          }),
      )
      return Promise.all(received)
    },
    [tiny, options],
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  const expected = [0, tokens, tokens, tokens, tokens, tokens]
  t.same(result, [expected, expected, expected, expected], 'and end by themselves')
})

t.test('the process can end while workers are at work', async t => {
  const outcomes = [1, 2, 3, 4, 5].map(() =>
    runInChild(
      async ({ startWorker }, tiny) => {
        for (let i = 0; i < 3; i++) {
          const worker = startWorker(async ({ OpenELM, tell }, tiny) => {
            const model = await OpenELM.load(tiny)
            tell('loaded')
            for (;;) await model.generate([5], { maxTokens: 200, ignoreEos: true })
          }, tiny)
          await new Promise(resolve => worker.once('message', resolve))
        }
        setTimeout(() => process.exit(7), Math.random() * 50)
        await new Promise(() => {})
      },
      [tiny],
    ),
  )
  for (const outcome of outcomes) {
    const { exit, stderr } = await outcome
    t.same({ exit, stderr }, { exit: 7, stderr: '' })
  }
})
