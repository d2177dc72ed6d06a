import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { countParameters, parseConfig, presets } from '../../lib/config.js'
import { OpenELM } from '../../lib/model.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import type { TrainOptions } from '../../lib/train/recipe.js'
import { train } from '../../lib/train/train.js'
import type { TrainStep } from '../../lib/train/train-step.js'
import { childRunner } from '../helpers/child.js'
import { gradientOptions, wholeBatch } from '../helpers/native-trainer.js'
import { checkpointBytes, page, runAll, tiny, tinyJson, tinyRun } from '../helpers/training.js'

t.test('a model learns a page by heart', async t => {
  const options = tinyRun(t.testdir(), {
    config: parseConfig({ ...tinyJson, model_dim: 64, max_context_length: 512 }, 'page'),
    packing: false,
    steps: 200,
    batchSize: 1,
    warmupSteps: 20,
    checkpointSteps: 200,
    threads: 2,
  })
  const steps = await runAll(options)
  const last = steps.at(-1)!
  t.ok(last.loss < 0.05, `loss ${last.loss}`)

  await using model = await OpenELM.load(last.checkpoint!)
  const prompt = page.slice(0, page.indexOf(','))
  const { text } = await model.generate(prompt, { maxTokens: 12 })
  t.ok(page.startsWith(prompt + text), `and can be loaded to recite it: ${text}`)
})

t.test('the weights depend on the seed, not on the threads', async t => {
  const dir = t.testdir()
  const bytes: Buffer[][] = []
  for (const [name, threads, seed] of [
    ['a', 1, 0],
    ['b', 2, 0],
    ['c', 3, 0],
    ['d', 1, 1],
  ] as const) {
    const steps = await runAll(tinyRun(join(dir, name), { threads, seed }))
    bytes.push(checkpointBytes(steps.at(-1)!.checkpoint!))
  }
  t.same(bytes[1], bytes[0], 'two threads')
  t.same(bytes[2], bytes[0], 'three threads')
  t.notSame(bytes[3]![0], bytes[0]![0], 'another seed')
})

t.test('activations may be computed twice', async t => {
  const dir = t.testdir()
  const kept = await runAll(tinyRun(join(dir, 'kept')))
  const again = await runAll(tinyRun(join(dir, 'again'), { recompute: true }))
  t.same(checkpointBytes(again.at(-1)!.checkpoint!), checkpointBytes(kept.at(-1)!.checkpoint!))
})

t.test('gradients add up over micro-batches', async t => {
  const dir = t.testdir()
  const losses = async (microBatchSize: number) => {
    const steps = await runAll(tinyRun(join(dir, String(microBatchSize)), { microBatchSize }))
    return steps.map(({ loss }) => loss)
  }
  const [one, three, four] = [await losses(1), await losses(3), await losses(4)]
  for (const [i, loss] of four.entries()) {
    t.ok(Math.abs(loss - one[i]!) < 1e-4 && Math.abs(loss - three[i]!) < 1e-4)
  }
})

t.test('padding is ignored, but for its share of the z-loss', async t => {
  const options = { packing: false, wordsPerPiece: 5, minCharacters: 0, steps: 1 }
  const [step] = await runAll(tinyRun(t.testdir(), options))
  // At the start every token is about as likely as any other.
  t.ok(Math.abs(step!.loss - Math.log(300)) < 0.7, `loss ${step!.loss}`)
  t.ok(step!.zLoss > 1.2e-4 * Math.log(300) ** 2, `z-loss ${step!.zLoss}`)
})

t.test('a run that has ended can be resumed with more steps', async t => {
  const options = tinyRun(t.testdir(), { steps: 3, warmupSteps: 1 })
  t.same(
    (await runAll(options)).map(({ step }) => step),
    [1, 2, 3],
  )
  const more = await runAll({ ...options, steps: 5, resume: true })
  t.same(
    more.map(({ step, steps }) => [step, steps]),
    [
      [4, 5],
      [5, 5],
    ],
  )
  t.ok(more[1]!.learningRate < more[0]!.learningRate, 'the learning rate follows the new number')
  t.same(await runAll({ ...options, steps: 4, resume: true }), [], 'there is nothing left to do')
})

t.test('a tokenizer is learned from the data, and kept', async t => {
  const { tokenizer, ...options } = tinyRun(t.testdir(), { steps: 1, keepCheckpoints: 9 })
  const learned: number[][] = []
  const onTokenizerProgress = (...counts: number[]) => learned.push(counts)
  const [first] = await runAll({ ...options, onTokenizerProgress })
  t.same(learned.at(-1)![1], options.config.vocabSize)
  const json = (checkpoint: string) => readFileSync(join(checkpoint, 'tokenizer.json'), 'utf8')
  t.equal(JSON.parse(json(first!.checkpoint!)).model.type, 'BPE')

  learned.length = 0
  const more = { ...options, steps: 2, resume: true, onTokenizerProgress }
  const [second] = await runAll(more)
  t.equal(json(second!.checkpoint!), json(first!.checkpoint!))
  t.same(learned, [], 'it is not learned again')
})

t.test('the loss of validation data is measured at intervals', async t => {
  const options = tinyRun(t.testdir())
  const steps = await runAll({ ...options, validation: options.data, validationSteps: 5 })
  const measured = steps.filter(({ validationLoss }) => validationLoss !== undefined)
  t.same(
    measured.map(({ step }) => step),
    [5, 10, 12],
  )
  t.ok(measured[2]!.validationLoss! < measured[0]!.validationLoss!)
})

t.test('a resumed run ends as one that was never interrupted', async t => {
  const dir = t.testdir()
  const whole = await runAll(tinyRun(join(dir, 'whole')))
  const options = tinyRun(join(dir, 'parts'))
  const controller = new AbortController()
  const aborted = train({ ...options, signal: controller.signal })
  await t.rejects(async () => {
    for await (const { step } of aborted) if (step === 6) controller.abort(new Error('enough'))
  }, /enough/)
  t.ok(readdirSync(options.out).includes('step-00000006'), 'an abort saves')
  const rest = await runAll({ ...options, resume: true, threads: 2 })
  t.equal(rest[0]!.step, 7)
  t.same(checkpointBytes(rest.at(-1)!.checkpoint!), checkpointBytes(whole.at(-1)!.checkpoint!))
  t.same(await runAll({ ...options, resume: true }), [], 'a run that is over stays over')
})

/** A run whose micro-batches take seconds. */
function slowRun(dir: string, options: Partial<TrainOptions> = {}): TrainOptions {
  const config = parseConfig(
    {
      ...tinyJson,
      model_dim: 512,
      head_dim: 64,
      num_transformer_layers: 4,
      max_context_length: 256,
    },
    'slow',
  )
  return tinyRun(dir, {
    config,
    batchSize: 16,
    microBatchSize: 16,
    sequenceLength: 256,
    ...options,
  })
}

t.test('an abort ends a micro-batch at once, and nothing is lost', async t => {
  const dir = t.testdir()
  const reference = slowRun(join(dir, 'timing'))
  const timing = train(reference)
  await timing.next()
  const begin = performance.now()
  await timing.next()
  const stepMs = performance.now() - begin
  await timing.return()

  const controller = new AbortController()
  const options = slowRun(join(dir, 'run'))
  const steps = train({ ...options, signal: controller.signal })
  await steps.next()
  let abortedAt = 0
  setTimeout(() => {
    abortedAt = performance.now()
    controller.abort(new Error('enough'))
  }, stepMs / 3)
  await t.rejects(steps.next(), /enough/)
  const saved = performance.now() - abortedAt
  t.ok(
    saved < Math.max(1000, stepMs / 2),
    `${saved} ms to hear and save, of a step of ${stepMs} ms`,
  )
  t.same(readdirSync(options.out), ['step-00000001'])
})

t.test('a cancelled trainer keeps its weights, and a disposed one its peace', async t => {
  const { Trainer } = loadNative()
  const trainer = new Trainer({
    config: nativeConfig(tiny),
    threads: 2,
    maxTokens: 4,
    recompute: false,
    float64: false,
  })
  const [weights, read] = [Buffer.alloc(64, 1), Buffer.alloc(64)]
  trainer.write('weights', 0, weights)
  const ids = Int32Array.of(1, 2, 3, 4)
  const batch = wholeBatch({ tokens: ids, targets: ids }, 4)
  trainer.cancel()
  await t.rejects(trainer.accumulate(batch, gradientOptions(1, 1, 0)), { code: 'ABORTED' })
  await t.rejects(trainer.evaluate(batch, true), { code: 'ABORTED' })
  const options = { learningRate: 1, beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0 }
  await t.rejects(trainer.step({ ...options, maxGradNorm: 1, step: 1 }), { code: 'ABORTED' })
  trainer.read('weights', 0, read)
  t.same(read, weights)
  await Promise.all([trainer.dispose(), trainer.dispose()])
  await trainer.dispose()
  trainer.cancel()
  t.throws(() => trainer.read('weights', 0, read), { code: 'DISPOSED' })
  t.throws(() => trainer.evaluate(batch, true), { code: 'DISPOSED' })
})

t.test('a cancelled trainer leaves the rest of its attention out', async t => {
  const length = 4096
  const wide = { ...tinyJson, max_context_length: length, model_dim: 256, head_dim: 16 }
  const heads = { num_gqa_groups: 16, qkv_multipliers: 1, ffn_multipliers: 0.25 }
  const config = nativeConfig(
    parseConfig({ ...wide, ...heads, vocab_size: 64, num_transformer_layers: 1 }),
  )
  const options = { config, threads: 1, maxTokens: length }
  const tokens = new Int32Array(length).fill(5)
  const batch = wholeBatch({ tokens, targets: tokens }, length)
  /** Milliseconds of processor since then: a busy machine adds none. */
  const spent = (since: NodeJS.CpuUsage) => {
    const { user, system } = process.cpuUsage(since)
    return (user + system) / 1000
  }
  const start = () => {
    const since = process.cpuUsage()
    const trainer = new (loadNative().Trainer)({ ...options, recompute: false, float64: false })
    return { trainer, since, ended: trainer.accumulate(batch, gradientOptions(1, 1, 0)) }
  }
  const whole = start()
  await whole.ended
  const total = spent(whole.since)
  await whole.trainer.dispose()

  const { trainer, since, ended } = start()
  while (spent(since) < total / 10) await pause(5)
  const cancelled = process.cpuUsage()
  trainer.cancel()
  await t.rejects(ended, { code: 'ABORTED' })
  const rest = spent(cancelled)
  t.ok(rest < total / 20, `${rest} ms after the cancel, of ${total} ms`)
  await trainer.dispose()
})

t.test('a run that is left gives its memory back', async t => {
  const dir = t.testdir({ child: {} })
  const run = slowRun(join(dir, 'run'), { batchSize: 1, microBatchSize: 1 })
  const { result, exit } = await childRunner(join(dir, 'child'))(
    async ({ train }, options) => {
      const sizes: number[] = []
      for (let i = 0; i < 4; i++) {
        for await (const _ of train({ ...options, out: `${options.out}-${i}` })) break
        sizes.push(process.memoryUsage.rss())
      }
      return sizes
    },
    [run],
  )
  t.equal(exit, 0)
  const parameters = countParameters(run.config)
  const growth = result.at(-1)! - result[0]!
  t.ok(growth < 16 * parameters, `${growth} bytes more after three runs of ${16 * parameters}`)
})

t.test('an abort during validation loses neither the step nor its loss', async t => {
  const dir = t.testdir()
  const options = tinyRun(join(dir, 'parts'), {
    steps: 4,
    checkpointSteps: 100,
    validationSteps: 2,
  })
  const long = join(dir, 'long.txt')
  writeFileSync(long, page.repeat(200))
  const recipe = { ...options, validation: [long] }
  const whole = await runAll({ ...recipe, out: join(dir, 'whole') })

  const controller = new AbortController()
  const first: TrainStep[] = []
  await t.rejects(async () => {
    for await (const step of train({ ...recipe, signal: controller.signal })) {
      first.push(step)
      // The next step is a few milliseconds of training and many more of validation.
      if (step.step === 1) setTimeout(() => controller.abort(new Error('enough')), 50)
    }
  }, /enough/)
  const rest = await runAll({ ...recipe, resume: true })
  const lossesOf = (steps: TrainStep[]) =>
    steps.map(({ step, loss, validationLoss }) => ({ step, loss, validationLoss }))
  t.same(lossesOf([...first, ...rest]), lossesOf(whole))
  t.same(checkpointBytes(rest.at(-1)!.checkpoint!), checkpointBytes(whole.at(-1)!.checkpoint!))
  t.same(await runAll({ ...recipe, resume: true }), [], 'it is told once')
})

t.test('what sequences leave out is told', async t => {
  const options = { packing: false, minCharacters: 0, steps: 1, batchSize: 1 }
  const [step] = await runAll(tinyRun(t.testdir(), options))
  t.ok(step!.leftOutTokens > 100, `${step!.leftOutTokens} of a page`)
  const [packed] = await runAll(tinyRun(t.testdir({ packed: {} }), { steps: 1 }))
  t.equal(packed!.leftOutTokens, 0)
})

t.test('old checkpoints go, and what a kill left half written', async t => {
  const options = tinyRun(t.testdir(), { checkpointSteps: 2, keepCheckpoints: 3 })
  mkdirSync(join(options.out, 'step-00000002.0.tmp'), { recursive: true })
  await runAll(options)
  const names = ['step-00000008', 'step-00000010', 'step-00000012']
  t.same(readdirSync(options.out).sort(), names)
})

t.test('bad input is one clear error, and nothing already trained is lost', async t => {
  const dir = t.testdir({
    empty: '',
    binary: Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1]),
    'not-utf8': Buffer.from([0x61, 0xff, 0x62]),
    short: 'too short to learn from',
    'bad.jsonl': '{"text": "fine"}\n{"txet": "not"}\n',
    'broken.jsonl': '{"text": "fine"}\n{"text": \n',
  })
  const options = tinyRun(dir)
  await runAll(options)
  const before = readdirSync(options.out)
  const cases: [Partial<TrainOptions>, string, RegExp][] = [
    [{ data: [join(dir, 'empty')] }, 'INVALID_DATA', /empty: the file is empty/],
    [{ data: [join(dir, 'binary')] }, 'INVALID_DATA', /expected text, but byte 4 is 0/],
    [{ data: [join(dir, 'not-utf8')] }, 'INVALID_DATA', /expected UTF-8/],
    [{ data: [join(dir, 'short')] }, 'INVALID_DATA', /no piece/],
    [{ data: [join(dir, 'bad.jsonl')] }, 'INVALID_DATA', /bad.jsonl:2: expected a string "text"/],
    [{ data: [join(dir, 'broken.jsonl')] }, 'INVALID_DATA', /broken.jsonl:2: malformed JSON/],
    [{ data: [join(dir, 'nowhere')] }, 'IO_ERROR', /nowhere/],
    [{ data: [] }, 'INVALID_DATA', /no piece/],
    [{ validation: [join(dir, 'short')] }, 'INVALID_DATA', /validation data has fewer tokens/],
    [{ minTokens: 10_000 }, 'INVALID_DATA', /minTokens, 10000/],
    [{ config: presets['3B'], microBatchSize: 2048 }, 'OUT_OF_MEMORY', /training needs .* GB/],
    [{}, 'IO_ERROR', /already holds a run/],
    [{ resume: true, seed: 7 }, 'INVALID_CHECKPOINT', /started with seed 0, not 7/],
    [
      { resume: true, config: parseConfig({ ...tinyJson, model_dim: 64 }, 'wider') },
      'INVALID_CHECKPOINT',
      /started with config.model_dim 32, not 64/,
    ],
    [
      { resume: true, config: { ...tiny, ropeFreqConstant: 1 } },
      'INVALID_CHECKPOINT',
      /config.rope_freq_constant 10000, not 1/,
    ],
    [{ steps: 0 }, 'INVALID_ARGUMENT', /options.steps/],
    [{ maxLearningRate: 0 }, 'INVALID_ARGUMENT', /options.maxLearningRate/],
    [{ data: 'file' as never }, 'INVALID_ARGUMENT', /options.data/],
    [{ tokenizer: {} }, 'INVALID_TOKENIZER', /model/],
    [{ out: join(options.data[0]!, 'run') }, 'IO_ERROR', /page.txt/],
  ]
  for (const [change, code, message] of cases) {
    await t.rejects(runAll({ ...options, ...change }), { code, message }, message.source)
  }
  t.same(readdirSync(options.out), before)
  await t.rejects(train(undefined as never).next(), { code: 'INVALID_ARGUMENT' })
})

t.test('a full disk', { skip: process.platform === 'win32' }, async t => {
  const dir = t.testdir({ child: {} })
  const whole = await runAll(tinyRun(join(dir, 'whole')))
  const options = tinyRun(join(dir, 'parts'))
  const controller = new AbortController()
  await t.rejects(async () => {
    const aborted = train({ ...options, signal: controller.signal })
    for await (const { step } of aborted) if (step === 6) controller.abort(new Error('enough'))
  }, /enough/)
  const before = readdirSync(options.out)

  // The weights of the next checkpoint fit, its moments do not.
  const fileSize = 1.5 * statSync(join(options.out, before.at(-1)!, 'model.safetensors')).size
  const { result, exit, stderr } = await childRunner(join(dir, 'child'))(
    async ({ train }, options) => {
      const steps: number[] = []
      try {
        for await (const { step } of train(options)) steps.push(step)
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        return { steps, code, message }
      }
      return { steps, code: 'none', message: '' }
    },
    [{ ...options, resume: true }],
    { fileSize },
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  t.match(result, { steps: [7], code: 'IO_ERROR', message: /optimizer.safetensors: EFBIG/ })
  t.same(readdirSync(options.out), before, 'what was trained is there, and no half of a checkpoint')

  const rest = await runAll({ ...options, resume: true })
  t.same(checkpointBytes(rest.at(-1)!.checkpoint!), checkpointBytes(whole.at(-1)!.checkpoint!))
})

t.test('a checkpoint that was damaged is refused', async t => {
  const options = tinyRun(t.testdir())
  const last = (await runAll(options)).at(-1)!.checkpoint!
  truncateSync(join(last, 'optimizer.safetensors'), 1000)
  await t.rejects(runAll({ ...options, resume: true }), { code: 'INVALID_CHECKPOINT' })
  writeFileSync(join(last, 'training.json'), '{')
  await t.rejects(runAll({ ...options, resume: true }), { code: 'INVALID_CHECKPOINT' })
  rmSync(last, { recursive: true })
  const rest = await runAll({ ...options, resume: true })
  t.equal(rest[0]!.step, 9, 'the one before it still serves')
})

t.test('one giant line is cut into pieces', async t => {
  const dir = t.testdir({ giant: 'x'.repeat(300_000) })
  const steps = await runAll(tinyRun(dir, { data: [join(dir, 'giant')], steps: 2 }))
  t.equal(steps.length, 2)
})

t.test('a run that diverges says so', async t => {
  const options = tinyRun(t.testdir(), { maxLearningRate: 1e30, warmupSteps: 0, maxGradNorm: 1e30 })
  await t.rejects(runAll(options), { code: 'TRAINING_DIVERGED', message: /lower learning rate/ })
})

t.test('a training can start from the weights of another model', async t => {
  const dir = t.testdir()
  const first = (await runAll(tinyRun(join(dir, 'first')))).at(-1)!
  const more = { from: first.checkpoint!, steps: 4, warmupSteps: 1, maxLearningRate: 1e-3 }
  const options = tinyRun(join(dir, 'second'), more)
  const steps = await runAll(options)
  t.ok(steps[0]!.loss < first.loss + 0.2, `${steps[0]!.loss} after ${first.loss}`)
  const resumed = { ...options, resume: true, steps: 6 }
  await t.rejects(runAll({ ...resumed, from: undefined }), {
    code: 'INVALID_CHECKPOINT',
    message: /started with from/,
  })
  t.equal((await runAll(resumed)).length, 2)
  const other = parseConfig({ ...tinyJson, ffn_multipliers: [1.0, 2.0] }, 'other')
  await t.rejects(runAll(tinyRun(join(dir, 'third'), { ...more, config: other })), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.from',
  })
})
