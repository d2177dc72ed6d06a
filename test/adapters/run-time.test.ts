import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { quantize } from '../../lib/convert/index.js'
import { type AdapterOption, type DType, OpenELM } from '../../lib/index.js'
import { merge } from '../../lib/train/index.js'
import { relativeError } from '../helpers/checkpoints.js'
import { goldenTokens, goldenWeights } from '../helpers/golden-weights.js'
import { readSafetensors, writeSafetensors } from '../helpers/safetensors.js'
import {
  goldenAdapter,
  goldenCases,
  goldenLogits,
  writeCoreNet,
  writeGoldenModel,
  writeMlx,
  writePeft,
} from './golden-adapter.js'

const dir = t.testdir()
const base = join(dir, 'base')
writeGoldenModel(base)
const lora = join(dir, 'lora')
const dora = join(dir, 'dora')
const reversed = join(dir, 'reversed')
writePeft(lora, {})
writePeft(dora, { dora: true })
writePeft(reversed, { embedding: true })
negate(join(reversed, 'adapter_model.safetensors'))

/** Another adapter of the same shapes. */
function negate(file: string): void {
  const tensors = readSafetensors(file)
  for (const [name, tensor] of tensors) {
    if (!name.includes('_B')) continue
    const bytes = Buffer.from(tensor.bytes)
    for (let i = 0; i < bytes.length; i += 4) bytes.writeFloatLE(-1.5 * bytes.readFloatLE(i), i)
    tensors.set(name, { ...tensor, bytes })
  }
  writeSafetensors(file, tensors)
}

const load = (adapters: string[] = [], options = {}) =>
  OpenELM.load(base, { backend: 'cpu', threads: 2, adapters, ...options })

function firstLogits(logits: Float32Array, vocabSize: number): Float64Array {
  const last = (goldenTokens.length - 1) * vocabSize
  return Float64Array.of(...logits.subarray(0, 3), ...logits.subarray(last, last + 3))
}

for (const [name, kind] of goldenCases) {
  t.test(`${name} beside the weights computes what PyTorch does`, async t => {
    const [peft, corenet] = [join(dir, `peft ${name}`), join(dir, `${name}.safetensors`)]
    writePeft(peft, kind)
    writeCoreNet(corenet, kind)
    for (const adapter of [peft, corenet]) {
      await using model = await load([adapter])
      const [loaded] = model.adapters
      t.match(loaded, { name, method: 'dora' in kind ? 'dora' : 'lora', rank: 4 })
      t.equal(loaded!.targets.length, goldenAdapter(kind).size)
      t.ok(loaded!.bytes > 0)
      const logits = firstLogits(await model.logits(goldenTokens), model.config.vocabSize)
      const error = relativeError(logits, Float64Array.from(goldenLogits[name].flat()))
      t.ok(error < 1e-5, `${adapter}: ${error}`)
    }
  })
}

t.test('an adapter of mlx-lm adapts the head with the embedding', async t => {
  const name = 'lora of the embedding and the head'
  writeMlx(join(dir, name), { embedding: true })
  await using model = await load([join(dir, name)])
  const logits = firstLogits(await model.logits(goldenTokens), model.config.vocabSize)
  t.ok(relativeError(logits, Float64Array.from(goldenLogits[name].flat())) < 1e-5)
})

for (const dtype of ['float32', 'bfloat16', 'q8', 'q4'] as const) {
  t.test(`beside weights in ${dtype} an adapter computes what a merged model does`, async t => {
    const stored = join(dir, `base ${dtype}`)
    await store(stored, dtype)
    const options = { backend: 'cpu', kvCacheDtype: 'float32' } as const
    const error = async (path: string, scale: number) => {
      const out = join(t.testdir(), 'merged')
      await merge(stored, [{ path, scale }], out, { dtype: 'float32' })
      await using merged = await OpenELM.load(out, options)
      await using model = await OpenELM.load(stored, { ...options, adapters: [{ path, scale }] })
      t.equal(model.dtype, dtype)
      const expected = await merged.logits(goldenTokens)
      return relativeError(
        Float64Array.from(await model.logits(goldenTokens)),
        Float64Array.from(expected),
      )
    }
    // Quantised weights are multiplied with inputs of 16 bits, merged ones in float32.
    const without = await error(lora, 0)
    t.ok(without < (dtype.startsWith('q') ? 2e-4 : 1e-6), `without: ${without}`)
    for (const adapter of [lora, dora, reversed]) {
      const difference = await error(adapter, 1)
      t.ok(difference < 1.5 * without + 1e-5, `${adapter}: ${difference}, without: ${without}`)
    }
  })
}

async function store(out: string, dtype: DType): Promise<void> {
  if (dtype === 'q8' || dtype === 'q4') return quantize(base, out, { dtype })
  const nothing = join(dir, 'nothing')
  writePeft(nothing, {})
  await merge(base, [{ path: nothing, scale: 0 }], out, { dtype: dtype as 'float32' })
}

t.test('a fresh adapter changes no bit', async t => {
  const fresh = join(dir, 'fresh')
  for (const isDora of [false, true]) {
    writePeft(fresh, { embedding: !isDora, dora: isDora })
    const file = join(fresh, 'adapter_model.safetensors')
    const tensors = readSafetensors(file)
    for (const [name, tensor] of tensors) {
      if (/lora_B|embedding_A/.test(name)) {
        tensors.set(name, { ...tensor, bytes: Buffer.alloc(tensor.bytes.length) })
      } else if (name.endsWith('vector')) {
        const module = /model\.(transformer.*)\.lora/.exec(name)![1]
        tensors.set(name, { ...tensor, bytes: lengthsOf(`${module}.weight`, tensor.shape[0]!) })
      }
    }
    writeSafetensors(file, tensors)
    await using model = await load([fresh])
    const bare = await model.logits(goldenTokens, { adapter: null })
    t.same(await model.logits(goldenTokens), bare, isDora ? 'DoRA' : 'LoRA')
  }
})

/** Of the rows of a matrix as the model has it. */
function lengthsOf(name: string, rows: number): Uint8Array {
  const values = Float32Array.from(goldenWeights().get(name)!)
  const columns = values.length / rows
  const lengths = Float32Array.from({ length: rows }, (_, row) => {
    let squares = 0
    for (const value of values.subarray(row * columns, (row + 1) * columns)) {
      squares += value * value
    }
    return Math.sqrt(squares)
  })
  return new Uint8Array(lengths.buffer)
}

t.test(
  'calls and sessions with different adapters in one batch compute what each does alone',
  async t => {
    await using model = await load([lora, dora, reversed])
    const both = [{ name: 'lora' }, { name: 'reversed', scale: 0.5 }]
    const choices: (string | typeof both | null)[] = ['lora', 'dora', 'reversed', both, null]
    const prompts = choices.map((_, i) => [1, ...goldenTokens.slice(0, 1 + i), 9])
    const options = { maxTokens: 40, ignoreEos: true, temperature: 1, seed: 3, logprobs: 5 }
    const generate = async (i: number) => {
      const chunks = []
      const stream = model.stream(prompts[i]!, { ...options, adapter: choices[i] })
      for await (const { token, logprob, topLogprobs } of stream) {
        chunks.push({ token, logprob, topLogprobs })
      }
      return chunks
    }
    const alone = []
    for (const i of choices.keys()) alone.push(await generate(i))
    t.same(await Promise.all([...choices.keys()].map(generate)), alone)
    t.equal(new Set(alone.map(chunks => JSON.stringify(chunks[0]))).size, choices.length)

    const sessions = choices.map(adapter => model.createSession({ adapter }))
    const logits = await Promise.all(sessions.map(session => session.append(goldenTokens)))
    const forks = sessions.map(session => session.fork())
    const next = await Promise.all(forks.map(session => session.append([5])))
    for (const [i, adapter] of choices.entries()) {
      const expected = await model.logits([...goldenTokens, 5], { adapter })
      const { vocabSize } = model.config
      const row = (index: number) => expected.subarray(index * vocabSize, (index + 1) * vocabSize)
      t.same(logits[i], row(goldenTokens.length - 1), `session with ${JSON.stringify(adapter)}`)
      t.same(next[i], row(goldenTokens.length), `fork with ${JSON.stringify(adapter)}`)
      const [score] = await model.scores([...goldenTokens, 5], { adapter })
      const { logprob } = await model.score(goldenTokens.slice(0, 1), goldenTokens.slice(1, 2), {
        adapter,
      })
      t.equal(score!.logprob, logprob)
    }
  },
)

t.test('several at once are the sum of their changes', async t => {
  await using model = await load([lora, reversed])
  const logits = await model.logits(goldenTokens, {
    adapter: [{ name: 'lora', scale: -2 }, { name: 'reversed' }],
  })
  const out = join(dir, 'sum')
  await merge(base, [{ path: lora, scale: -2 }, reversed], out)
  await using merged = await OpenELM.load(out, { backend: 'cpu' })
  const expected = await merged.logits(goldenTokens)
  t.ok(relativeError(Float64Array.from(logits), Float64Array.from(expected)) < 1e-5)
  const nothing: AdapterOption = { adapter: [] }
  t.same(
    await model.logits(goldenTokens, nothing),
    await model.logits(goldenTokens, { adapter: null }),
  )
})

t.test('the default: the one that is loaded, and none of several', async t => {
  await using model = await load()
  const bare = await model.logits(goldenTokens)
  const before = model.createSession()
  t.same(model.adapters, [])
  t.equal(await model.loadAdapter({ path: lora, name: 'first', scale: 0.5 }), 'first')
  const first = await model.logits(goldenTokens)
  t.notSame(first, bare)
  t.same(await model.logits(goldenTokens, { adapter: 'first' }), first)
  t.same(await model.logits(goldenTokens, { adapter: null }), bare)
  t.equal(await model.loadAdapter(lora), 'lora')
  t.same(await model.logits(goldenTokens), bare)
  const halved = await model.logits(goldenTokens, { adapter: [{ name: 'lora', scale: 0.5 }] })
  t.same(halved, first)
  t.same(
    model.adapters.map(({ name }) => name),
    ['first', 'lora'],
  )
  t.same(await before.append(goldenTokens), bare.subarray(-model.config.vocabSize))

  const session = model.createSession({ adapter: 'first' })
  const chat = model.createSession({ adapter: 'lora' })
  model.unloadAdapter('lora')
  model.unloadAdapter('first')
  t.same(model.adapters, [])
  t.same(await model.logits(goldenTokens), bare)
  const last = first.subarray(-model.config.vocabSize)
  t.same(await session.append(goldenTokens), last, 'a session keeps what is unloaded')
  t.notSame(await chat.append(goldenTokens), last)
  session.rewind(0)
  t.same(await session.fork().append(goldenTokens), last, 'and so does its fork')
  t.equal(await model.loadAdapter({ path: dora, name: 'first' }), 'first')
})

t.test('what is refused', async t => {
  await using model = await load([lora, dora])
  const invalid = (message: RegExp) => ({ code: 'INVALID_ARGUMENT', message })
  const choose = (adapter: unknown) =>
    model.logits(goldenTokens, { adapter: adapter as string | null })
  await t.rejects(
    choose('other'),
    invalid(/an adapter that is one of "lora", "dora", received "other"/),
  )
  await t.rejects(choose(1), invalid(/expected options.adapter to be the name of an adapter/))
  await t.rejects(choose([{ name: 'lora', size: 1 }]), invalid(/no options.adapter\[0\].size/))
  await t.rejects(choose([{ name: 'lora', scale: Number.NaN }]), invalid(/adapter\[0\].scale/))
  await t.rejects(choose([{ name: 'dora', scale: 2 }]), invalid(/"dora" is a DoRA adapter/))
  await t.rejects(choose([{ name: 'lora' }, { name: 'dora' }]), invalid(/which stands alone/))
  t.throws(() => model.createSession({ adapter: 'x' }), invalid(/options.adapter/))
  t.throws(() => model.stream([1], { adapter: 'x' }), invalid(/options.adapter/))
  t.throws(() => model.unloadAdapter('x'), invalid(/expected name to be an adapter/))
  using session = model.createSession()
  await t.rejects(
    session.generate([1], { adapter: 'lora' } as object),
    invalid(/there is no options.adapter/),
  )
  await t.rejects(model.loadAdapter(lora), invalid(/there is an adapter "lora" already/))
  await t.rejects(model.loadAdapter({ path: lora, scale: 'a' } as never), invalid(/adapter.scale/))
  await t.rejects(model.loadAdapter(undefined as never), invalid(/expected adapter to be/))
  await t.rejects(load([1] as never), invalid(/options.adapters\[0\]/))
  await t.rejects(model.loadAdapter(join(dir, 'nowhere')), { code: 'IO_ERROR' })
  t.equal(await model.loadAdapter({ path: lora, name: 'nowhere' }), 'nowhere', 'the name is free')

  const strange = join(dir, 'strange')
  writePeft(strange, {}, name => name.replace('layers.2', 'layers.3'))
  const message = /the model has no transformer.layers.3.attn.qkv_proj.weight/
  await t.rejects(model.loadAdapter(strange), { code: 'INVALID_CHECKPOINT', message })
  await t.rejects(load([lora, strange]), { code: 'INVALID_CHECKPOINT', message })
})

t.test('dispose gives adapters back, and ends what is loading', async t => {
  const model = await load([lora])
  const session = model.createSession()
  const loading = model.loadAdapter(dora)
  await model.dispose()
  const error = await loading.then(
    () => undefined,
    (error: Error & { code: string }) => error,
  )
  t.ok(error === undefined || error.code === 'DISPOSED', String(error?.message))
  await t.rejects(model.loadAdapter({ path: lora, name: 'late' }), { code: 'DISPOSED' })
  t.throws(() => model.createSession(), { code: 'DISPOSED' })
  await t.rejects(session.append([1]), { code: 'DISPOSED' })
  session.dispose()
})

t.test('a generation with an adapter can be aborted, while it is unloaded', async t => {
  await using model = await load([lora])
  const controller = new AbortController()
  const { signal } = controller
  const stream = model.stream([1], { maxTokens: 100, ignoreEos: true, signal })
  await stream.next()
  model.unloadAdapter('lora')
  await stream.next()
  const reason = new Error('enough')
  controller.abort(reason)
  await t.rejects(stream.next(), reason)
})

t.test('calls that have begun keep an adapter that is unloaded', async t => {
  await using model = await load([lora])
  const [context, continuation] = [goldenTokens.slice(0, 3), goldenTokens.slice(3, 5)]
  const call = () =>
    Promise.all([
      model.generate(context, { maxTokens: 5, ignoreEos: true }).then(({ tokens }) => tokens),
      model.score(context, continuation),
    ])
  const expected = await call()
  const begun = call()
  model.unloadAdapter('lora')
  t.same(await begun, expected)
  t.notSame(await model.score(context, continuation), expected[1])
  t.equal(await model.loadAdapter(lora), 'lora')
})

t.test('an adapter is loaded with the model, or neither is', async t => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const onProgress = () => controller.abort(reason)
  await t.rejects(load([lora], { signal: controller.signal, onProgress }), reason)
  const config = join(dir, 'broken')
  mkdirSync(config)
  writeFileSync(join(config, 'adapter_config.json'), '{}')
  await t.rejects(load([config]), { code: 'INVALID_ADAPTER' })
})
