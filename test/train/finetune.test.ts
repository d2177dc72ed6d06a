import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readAdapter } from '../../lib/adapters/read-adapter.js'
import { writeCheckpoint } from '../../lib/checkpoint.js'
import { quantize } from '../../lib/convert/quantize.js'
import { OpenELM } from '../../lib/model.js'
import { randomWeights } from '../../lib/random-weights.js'
import { average } from '../../lib/train/average.js'
import { finetune } from '../../lib/train/finetune.js'
import type { FinetuneOptions, FinetuneSummary } from '../../lib/train/finetune-recipe.js'
import type { FinetuneStep } from '../../lib/train/finetune-step.js'
import { childRunner } from '../helpers/child.js'
import { tiny, tinyTokenizer } from '../helpers/training.js'

const completions = [
  { prompt: 'The keeper', completion: ' had two lamps.' },
  { prompt: 'In winter', completion: ' he read a great deal.' },
  { prompt: 'A boat', completion: ' brought him flour and oil.' },
  { prompt: 'The ships', completion: ' saw only the first.' },
  { prompt: 'The box', completion: ' hummed.' },
]
const preferences = completions.map(({ prompt, completion }, i) => {
  return { prompt, chosen: completion, rejected: ` no${' no'.repeat(i)}.` }
})

/** A model with random weights, and rows to teach it. */
async function setUp(t: Test, rows: readonly object[] = completions, seed = 1n) {
  const dir = t.testdir()
  const model = join(dir, 'model')
  const companions = new Map([['tokenizer.json', Buffer.from(JSON.stringify(tinyTokenizer))]])
  await writeCheckpoint(model, tiny, 'float32', randomWeights(tiny, seed), { companions })
  const data = join(dir, 'rows.jsonl')
  writeFileSync(data, rows.map(row => JSON.stringify(row)).join('\n'))
  const options = (name: string, more: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
    model,
    data: [data],
    out: join(dir, name),
    rank: 4,
    batchSize: 2,
    steps: 4,
    maxLearningRate: 1e-2,
    checkpointSteps: 2,
    threads: 1,
    ...more,
  })
  return { dir, model, data, options }
}

async function runAll(options: FinetuneOptions): Promise<FinetuneStep[]> {
  const steps: FinetuneStep[] = []
  for await (const step of finetune(options)) steps.push(step)
  return steps
}

/** The hashes of a step's files, but for the state: comparing the bytes themselves takes minutes. */
function weightsOf(out: string, step: string): Map<string, string> {
  const directory = join(out, step)
  const names = readdirSync(directory).filter(name => name.endsWith('.safetensors'))
  const hash = (name: string) => {
    return createHash('sha256')
      .update(readFileSync(join(directory, name)))
      .digest('hex')
  }
  return new Map(names.sort().map(name => [name, hash(name)]))
}

const methods: Record<string, Partial<FinetuneOptions>> = {
  'LoRA with dropout': { dropout: 0.2, targets: ['all', 'embedding'] },
  'DoRA with dropout, recomputed': { method: 'dora', dropout: 0.2, recompute: true },
  'the last layer alone': { layers: 1, targets: ['ffn'] },
  'the whole model': { method: 'full' },
}

for (const [name, method] of Object.entries(methods)) {
  t.test(`${name}: interrupted and resumed, the same bits`, async t => {
    const { options } = await setUp(t)
    const expected = await runAll(options('whole', method))
    t.match(expected, [{ step: 1, steps: 4, epoch: 1 / 3, learningRate: 0 }, {}, {}, {}])
    t.match(expected[1]!.checkpoint, /step-00000002$/)
    for await (const { step } of finetune(options('parts', method))) if (step === 3) break
    const resumed = await runAll(options('parts', { ...method, resume: true, threads: 3 }))
    t.same(
      resumed.map(({ step, loss }) => ({ step, loss })),
      expected.slice(2).map(({ step, loss }) => ({ step, loss })),
    )
    const [parts, whole] = ['parts', 'whole'].map(name => options(name).out)
    t.same(weightsOf(parts!, 'step-00000004'), weightsOf(whole!, 'step-00000004'))
    t.notSame(weightsOf(whole!, 'step-00000002'), weightsOf(whole!, 'step-00000004'))
  })
}

t.test('the size of micro-batches changes no bit of an adapter', async t => {
  const { options } = await setUp(t)
  await runAll(options('whole', { dropout: 0.1 }))
  await runAll(options('parts', { dropout: 0.1, microBatchTokens: 1 }))
  const [parts, whole] = ['parts', 'whole'].map(name => options(name).out)
  t.same(weightsOf(parts!, 'step-00000004'), weightsOf(whole!, 'step-00000004'))
})

for (const method of ['lora', 'dora', 'full'] as const) {
  t.test(`${method} learns answers by heart, and the checkpoint is what was trained`, async t => {
    const { options, model } = await setUp(t)
    const validation = options('run').data
    // Beside a frozen, random output matrix no model of this width is sure of anything.
    const [all, limit] = method === 'full' ? [60, 0.3] : [250, 1.2]
    const steps = await runAll(
      options('run', {
        method,
        validation,
        rank: 8,
        steps: all,
        batchSize: 5,
        checkpointSteps: all,
      }),
    )
    const { loss, validationLoss, checkpoint } = steps.at(-1)!
    t.ok(loss < limit && steps[0]!.loss > 4, `from ${steps[0]!.loss} to ${loss}`)
    t.ok(validationLoss! < loss * 1.5)
    t.equal(steps[0]!.targets, steps.at(-1)!.targets)
    if (method === 'full') {
      const tuned = await OpenELM.load(checkpoint!, { backend: 'cpu' })
      const { text } = await tuned.generate('The keeper', { maxTokens: 20, temperature: 0 })
      t.equal(text, ' had two lamps.')
      await tuned.dispose()
      return
    }
    const adapter = await readAdapter(checkpoint!, tiny)
    t.equal(adapter.method, method)
    t.equal(adapter.targets.size, 4 * tiny.numLayers)
    const config = JSON.parse(readFileSync(join(checkpoint!, 'adapter_config.json'), 'utf8'))
    t.match(config, { r: 8, lora_alpha: 8, base_model_name_or_path: model })
  })
}

const losses = { sigmoid: Math.LN2, hinge: 1, ipo: 25 }
for (const [dpoLoss, start] of Object.entries(losses)) {
  t.test(`preferences by the ${dpoLoss} loss`, async t => {
    const { options } = await setUp(t, preferences)
    const given = { dpoLoss: dpoLoss as 'sigmoid', steps: 30, batchSize: 5, checkpointSteps: 30 }
    const steps = await runAll(options('run', { ...given, method: 'dora', warmupSteps: 0 }))
    const [first, last] = [steps[0]!, steps.at(-1)!]
    t.equal(first.loss, start, 'nothing has moved yet')
    t.match(first, { rewardChosen: 0, rewardRejected: 0, rewardMargin: 0, rewardAccuracy: 0 })
    t.equal(last.rewardAccuracy, 1)
    t.ok(last.loss < 0.7 * start, `loss ${last.loss}`)
    t.ok(last.rewardMargin! > 0)
  })
}

t.test('preferences with references of before the run, resumed: the same bits', async t => {
  const { options } = await setUp(t, preferences)
  for (const method of ['lora', 'full'] as const) {
    await runAll(options(`${method} whole`, { method }))
    for await (const { step } of finetune(options(`${method} parts`, { method }))) {
      if (step === 3) break
    }
    await runAll(options(`${method} parts`, { method, resume: true }))
    const [parts, whole] = ['parts', 'whole'].map(name => options(`${method} ${name}`).out)
    t.same(weightsOf(parts!, 'step-00000004'), weightsOf(whole!, 'step-00000004'))
  }
})

t.test('what is refused', async t => {
  const { options, dir, data, model } = await setUp(t)
  const run = options('run', { steps: 2 })
  await runAll(run)
  await t.rejects(runAll(run), { code: 'IO_ERROR' })
  const again = { ...run, resume: true, steps: 4 }
  await t.rejects(runAll({ ...again, rank: 8 }), { code: 'INVALID_CHECKPOINT', message: /rank 4/ })
  await t.rejects(runAll({ ...again, targets: ['head'] }), {
    code: 'INVALID_ARGUMENT',
    message: /options.targets/,
  })
  await t.rejects(runAll({ ...again, layers: 3 }), { code: 'INVALID_ARGUMENT' })
  await t.rejects(runAll({ ...again, sequenceLength: 64 }), { code: 'INVALID_ARGUMENT' })

  rmSync(model, { recursive: true })
  const companions = new Map([['tokenizer.json', Buffer.from(JSON.stringify(tinyTokenizer))]])
  await writeCheckpoint(model, tiny, 'float32', randomWeights(tiny, 2n), { companions })
  await t.rejects(runAll(again), { code: 'INVALID_CHECKPOINT', message: /started with base/ })
  rmSync(model, { recursive: true })
  await writeCheckpoint(model, tiny, 'float32', randomWeights(tiny, 1n), { companions })
  writeFileSync(data, `${readFileSync(data)}\n${JSON.stringify(completions[0])}`)
  await t.rejects(runAll(again), { code: 'INVALID_CHECKPOINT', message: /started with data/ })
  t.same(readdirSync(join(dir, 'run')), ['step-00000002'])
})

t.test('an abort saves the last step, which a resumed run goes on from', async t => {
  const { options } = await setUp(t)
  const abort = new AbortController()
  const run = finetune(options('run', { checkpointSteps: 100, signal: abort.signal }))
  await t.rejects(async () => {
    for await (const { step } of run) if (step === 1) abort.abort(new Error('enough'))
  }, /enough/)
  t.same(readdirSync(options('run').out), ['step-00000001'])
  const rest = await runAll(options('run', { checkpointSteps: 100, resume: true }))
  t.same(
    rest.map(({ step }) => step),
    [2, 3, 4],
  )
})

t.test('a part of the rows is measured on, and not learnt from', async t => {
  const { options, data } = await setUp(t)
  let summary: FinetuneSummary | undefined
  const onStart = (told: FinetuneSummary) => {
    summary = told
  }
  const held = { validationFraction: 0.5, onStart }
  const steps = await runAll(options('held', held))
  const { validationRows } = summary!
  t.ok(validationRows > 0 && validationRows < completions.length, `${validationRows} rows`)
  t.equal(typeof steps.at(-1)!.validationLoss, 'number')
  t.equal(steps[0]!.epoch, 1 / Math.ceil((completions.length - validationRows) / 2))
  await t.rejects(runAll(options('held', { resume: true, steps: 6 })), {
    code: 'INVALID_CHECKPOINT',
    message: /validationFraction 0.5, not 0/,
  })
  await t.rejects(runAll(options('both', { ...held, validation: [data] })), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.validationFraction',
  })
  await t.rejects(runAll(options('none', { validationFraction: 0.999999 })), {
    code: 'INVALID_DATA',
  })
})

for (const method of ['lora', 'dora'] as const) {
  t.test(`a fresh ${method} adapter changes no bit of what the model says`, async t => {
    const { options, model } = await setUp(t)
    // The first step of a warm-up has the rate 0.
    const [first] = await runAll(options('fresh', { method, checkpointSteps: 1, warmupSteps: 1 }))
    t.equal(first!.learningRate, 0)
    const adapted = await OpenELM.load(model, { adapters: [first!.checkpoint!], threads: 1 })
    t.teardown(() => adapted.dispose())
    const tokens = [1, 5, 9, 3, 17]
    t.same(await adapted.logits(tokens), await adapted.logits(tokens, { adapter: null }))
  })
}

for (const dtype of ['q8', 'q4', 'bfloat16'] as const) {
  t.test(`beside ${dtype} weights: what is learnt beside the numbers that they mean`, async t => {
    const { options, model, dir } = await setUp(t)
    const stored = join(dir, dtype)
    if (dtype === 'bfloat16') await average([model], stored, { dtype })
    else await quantize(model, stored, { dtype })
    const method = { method: 'dora', dropout: 0.1 } as const
    await runAll(options('made', { ...method, dtype }))
    await runAll(options('stored', { ...method, model: stored, threads: 3 }))
    await runAll(options('meant', { ...method, model: stored, dtype: 'float32' }))
    const [made, kept, meant] = ['made', 'stored', 'meant'].map(name => {
      return weightsOf(options(name).out, 'step-00000004')
    })
    const tensors = 'optimizer.safetensors'
    t.same(made!.get(tensors), kept!.get(tensors))
    t.same(made!.get(tensors), meant!.get(tensors))
    const adapter = await readAdapter(join(options('made').out, 'step-00000004'), tiny)
    t.equal(adapter.baseDType, dtype)
    await t.rejects(runAll(options('made', { ...method, resume: true, steps: 6 })), {
      code: 'INVALID_CHECKPOINT',
      message: new RegExp(`started with dtype "${dtype}", not "float32"`),
    })
  })
}

t.test('goes on with an adapter: preferences after answers', async t => {
  const { options, dir } = await setUp(t)
  const first = await runAll(options('first', { method: 'dora', rank: 2 }))
  const adapter = first.at(-1)!.checkpoint!
  const pairs = join(dir, 'pairs.jsonl')
  writeFileSync(pairs, preferences.map(row => JSON.stringify(row)).join('\n'))
  const { rank: _, ...rest } = options('second', {
    adapter,
    data: [pairs],
    steps: 30,
    batchSize: 5,
  })
  const steps = await runAll({ ...rest, warmupSteps: 1, checkpointSteps: 30 })
  t.equal(steps[0]!.loss, Math.LN2, 'against what the adapter said before')
  t.equal(steps.at(-1)!.rewardAccuracy, 1)
  const [before, after] = [adapter, steps.at(-1)!.checkpoint!].map(path => readAdapter(path, tiny))
  const shapes = ({ method, targets }: Awaited<ReturnType<typeof readAdapter>>) => {
    return [method, [...targets].map(([name, { rank, scale }]) => ({ name, rank, scale }))]
  }
  t.same(shapes(await after!), shapes(await before!))
  t.notSame(await after!, await before!)

  const again = { ...rest, resume: true, steps: 40 }
  await t.rejects(runAll({ ...again, adapter: undefined, method: 'dora', rank: 2 }), {
    code: 'INVALID_CHECKPOINT',
    message: /started with adapter/,
  })
  await t.rejects(runAll({ ...rest, out: join(dir, 'third'), rank: 3 }), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.rank',
  })
})

t.test('a full disk', { skip: process.platform === 'win32' }, async t => {
  const { options, dir } = await setUp(t)
  await runAll(options('whole'))
  for await (const { step } of finetune(options('parts'))) if (step === 2) break
  const before = readdirSync(options('parts').out)
  // The adapter of the next checkpoint fits, its moments do not.
  const adapter = join(options('parts').out, before.at(-1)!, 'adapter_model.safetensors')
  mkdirSync(join(dir, 'child'))
  const { result, exit } = await childRunner(join(dir, 'child'))(
    async ({ finetune }, given) => {
      try {
        for await (const _ of finetune(given));
        return { code: 'none', message: '' }
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        return { code, message }
      }
    },
    [{ ...options('parts'), resume: true }],
    { fileSize: 1.5 * statSync(adapter).size },
  )
  t.equal(exit, 0)
  t.match(result, { code: 'IO_ERROR', message: /optimizer.safetensors: EFBIG/ })
  t.same(readdirSync(options('parts').out), before)
  await runAll(options('parts', { resume: true }))
  const [parts, whole] = ['parts', 'whole'].map(name => options(name).out)
  t.same(weightsOf(parts!, 'step-00000004'), weightsOf(whole!, 'step-00000004'))
})
