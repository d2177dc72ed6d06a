import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { merge } from '../../lib/adapters/merge.js'
import {
  checkpointToGguf,
  openCheckpoint,
  pack,
  quantize,
  writeCheckpoint,
} from '../../lib/convert/index.js'
import { type DType, dtypes, OpenELM } from '../../lib/index.js'
import { loadNative } from '../../lib/native.js'
import { nativeConfig } from '../../lib/native-config.js'
import { nativeTensors } from '../../lib/native-tensors.js'
import { average, finetune } from '../../lib/train/index.js'
import { testConfigs, writeTestCheckpoint } from '../helpers/checkpoints.js'
import { childRunner } from '../helpers/child.js'
import { writeRandomAdapter } from '../helpers/random-adapter.js'
import { writeSparseCheckpoint } from '../helpers/sparse-checkpoint.js'

const skip = process.platform !== 'linux' && 'it reads /proc'
const weightsOf = (directory: string) => join(directory, 'model.safetensors')

/** A checkpoint as it is stored and packed, in folders of those names. */
async function writeBoth(
  t: Test,
  name: keyof typeof testConfigs = 'odder-widths',
  dtype: DType = 'q8',
): Promise<{ stored: string; packed: string }> {
  const directory = t.testdir()
  const [floats, stored, packed] = ['floats', 'stored', 'packed'].map(name => join(directory, name))
  const type = { float32: 'F32', float16: 'F16', bfloat16: 'BF16', q8: 'F32', q4: 'F32' } as const
  const isQuantised = dtype === 'q8' || dtype === 'q4'
  writeTestCheckpoint(isQuantised ? floats! : stored!, testConfigs[name], {
    dtype: type[dtype],
    seed: 5,
  })
  if (isQuantised) await quantize(floats!, stored!, { dtype })
  await pack(stored!, packed!)
  return { stored: stored!, packed: packed! }
}

async function logitsOf(directory: string, options: { mmap?: boolean; threads?: number } = {}) {
  await using model = await OpenELM.load(directory, { backend: 'cpu', ...options })
  const tokens = Array.from({ length: 40 }, (_, i) => (i * i * 13 + i) % model.config.vocabSize)
  return { logits: Buffer.from((await model.logits(tokens)).buffer), dtype: model.dtype }
}

// Between them widths that panels, pairs of columns and groups fill and do not fill, and both layouts.
const cases = {
  'odder-widths': dtypes,
  'plain-ffn-untied': ['float32', 'q4'],
  'head-64-lists': ['bfloat16', 'q4'],
} as const
for (const [name, dtypes] of Object.entries(cases) as [keyof typeof cases, readonly DType[]][]) {
  for (const dtype of dtypes) {
    t.test(`${name} in ${dtype} gives the same bits packed, mapped or copied`, async t => {
      const { stored, packed } = await writeBoth(t, name, dtype)
      const { layout, dtype: storedAs } = await openCheckpoint(packed)
      t.same({ layout, storedAs }, { layout: 'panels', storedAs: dtype })
      const expected = await logitsOf(stored)
      for (const options of [{}, { mmap: false }, { threads: 1 }]) {
        t.same(await logitsOf(packed, options), expected, JSON.stringify(options))
      }
    })
  }
}

t.test('the bytes that pack writes are those that the CPU backend keeps', async t => {
  const { stored, packed } = await writeBoth(t, 'head-64-lists', 'bfloat16')
  await using copied = await OpenELM.load(stored, { backend: 'cpu' })
  await using mapped = await OpenELM.load(packed, { backend: 'cpu' })
  t.equal(mapped.memory.weights, copied.memory.weights)
  for (const { offset, shape } of (await openCheckpoint(packed)).tensors.values()) {
    if (shape.length === 2) t.equal(offset % 64, 0, 'on a line of the cache')
  }
})

t.test('weights that lie where a processor may not read them are copied', async t => {
  const { stored, packed } = await writeBoth(t, 'head-64-lists', 'float32')
  const bytes = readFileSync(weightsOf(packed))
  const headerEnd = 8 + Number(bytes.readBigUInt64LE())
  const parts = [bytes.subarray(0, headerEnd), Buffer.from('  '), bytes.subarray(headerEnd)]
  const shifted = Buffer.concat(parts)
  shifted.writeBigUInt64LE(BigInt(headerEnd - 8 + 2))
  writeFileSync(weightsOf(packed), shifted)
  t.same(await logitsOf(packed), await logitsOf(stored))
})

t.test('a packed checkpoint has adapters and drafts as any other', async t => {
  const { stored, packed } = await writeBoth(t, 'head-64-lists', 'q4')
  const adapter = await writeRandomAdapter(join(t.testdirName, 'adapter'), stored, 'dora')
  const answer = async (directory: string) => {
    await using model = await OpenELM.load(directory, { backend: 'cpu', adapters: [adapter] })
    const options = { adapter: 'adapter', maxTokens: 12, ignoreEos: true, promptLookup: true }
    return (await model.generate([5, 6, 5, 6, 5], options)).tokens
  }
  t.same(await answer(packed), await answer(stored))
})

t.test('a packed checkpoint is for the CPU, in its own dtype', async t => {
  const { packed } = await writeBoth(t)
  const fails = async (options: Parameters<typeof OpenELM.load>[1], argument: string) => {
    const error = await OpenELM.load(packed, options).catch(error => error)
    t.match(error, { code: 'INVALID_ARGUMENT', argument, message: 'packed' })
  }
  await fails({ dtype: 'float32' }, 'options.dtype')
  await fails({ backend: 'cuda' }, 'options.backend')
  await using model = await OpenELM.load(packed)
  t.equal(model.backend, 'cpu', 'whatever GPUs there are')
})

t.test('what reads rows refuses a packed checkpoint and leaves nothing behind', async t => {
  const { stored, packed } = await writeBoth(t, 'head-64-lists', 'bfloat16')
  const out = join(t.testdirName, 'out')
  const adapter = await writeRandomAdapter(join(t.testdirName, 'adapter'), stored)
  const calls: Record<string, () => Promise<unknown>> = {
    pack: () => pack(packed, out),
    quantize: () => quantize(packed, out, { dtype: 'q8' }),
    gguf: () => checkpointToGguf(packed, out),
    merge: () => merge(packed, [adapter], out),
    average: () => average([packed], out),
    finetune: async () => {
      const data = join(t.testdirName, 'data.txt')
      writeFileSync(data, 'text')
      for await (const _ of finetune({ model: packed, out, data: [data] })) break
    },
  }
  for (const [name, call] of Object.entries(calls)) {
    const error = await call().catch(error => error)
    t.match(error, { code: 'INVALID_ARGUMENT', message: 'is packed; take the checkpoint' }, name)
    t.throws(() => statSync(out), { code: 'ENOENT' }, name)
  }
})

t.test('a packed file that is truncated, replaced or foreign is a typed error', async t => {
  const { stored, packed } = await writeBoth(t)
  const file = weightsOf(packed)
  const intact = readFileSync(file)
  const refused = async (what: string, message: string | RegExp) => {
    const error = await OpenELM.load(packed).catch(error => error)
    t.match(error, { code: 'INVALID_CHECKPOINT', message }, what)
    writeFileSync(file, intact)
  }
  truncateSync(file, intact.length - 1)
  await refused('truncated', 'bytes, the file holds')
  truncateSync(file, 100)
  await refused('truncated within its header', 'ends after the file')
  const other = join(t.testdirName, 'other')
  writeTestCheckpoint(join(t.testdirName, 'floats'), testConfigs['head-80'], {
    dtype: 'F32',
    seed: 5,
  })
  await pack(join(t.testdirName, 'floats'), other)
  writeFileSync(file, readFileSync(weightsOf(other)))
  await refused('replaced by a file of another model', 'as the config implies')
  writeFileSync(file, readFileSync(weightsOf(stored)))
  t.same(await logitsOf(packed), await logitsOf(stored), 'one that is not packed is read as such')
  const text = intact.toString('latin1')
  writeFileSync(file, text.replace('"panels"', '"PANELS"'), 'latin1')
  await refused('of a layout that is not known', 'expected openelm.layout to be "panels"')
  writeFileSync(file, text.replace('"openelm.layout"', '"openelm.LAYOUT"'), 'latin1')
  await refused('without its layout', 'as the config implies')
  t.ok(await logitsOf(packed), 'and the intact file loads')
})

t.test('a packed checkpoint may come in shards, all of one layout', async t => {
  const { packed } = await writeBoth(t)
  const { config, tensors } = await openCheckpoint(packed)
  const directory = join(t.testdirName, 'shards')
  const source = ({ name }: { name: string }) => {
    const { file, offset, byteLength } = tensors.get(name)!
    return [readFileSync(file).subarray(offset, offset + byteLength)]
  }
  await writeCheckpoint(directory, config, 'q8', source, {
    layout: 'panels',
    maxShardBytes: 50_000,
  })
  t.same(await logitsOf(directory), await logitsOf(packed))

  const [first] = readdirSync(directory).filter(name => name.endsWith('.safetensors'))
  const text = readFileSync(join(directory, first!), 'latin1')
  const unnamed = text.replace('"openelm.layout"', '"openelm.LAYOUT"')
  writeFileSync(join(directory, first!), unnamed, 'latin1')
  await t.rejects(openCheckpoint(directory), {
    code: 'INVALID_CHECKPOINT',
    message: 'its openelm.layout differs from that of',
  })
})

t.test('a file that shrinks between its header and its data is a typed error', async t => {
  const { packed } = await writeBoth(t)
  const checkpoint = await openCheckpoint(packed)
  truncateSync(weightsOf(packed), statSync(weightsOf(packed)).size - 1)
  for (const mmap of [true, false]) {
    const options = {
      config: nativeConfig(checkpoint.config),
      tensors: nativeTensors(checkpoint),
      dtype: checkpoint.dtype,
      backend: 'cpu',
      deviceIndex: 0,
      threads: 2,
      kvCacheDtype: 'auto',
      mmap,
    } as const
    const { promise } = loadNative().load(options, undefined)
    await t.rejects(promise, { code: 'IO_ERROR', message: 'shorter than its header says' })
  }
})

/** The mappings of a file that a process has, by its smaps: bytes that were touched, and its share of them. */
function mappingsOf(file: string, smaps: string) {
  const bytes = (text: string, name: string) =>
    1024 * Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)![1])
  return smaps
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter(text => text.includes(file))
    .map(text => ({ rss: bytes(text, 'Rss'), pss: bytes(text, 'Pss') }))
}

t.test('processes and workers share pages, and dispose gives them back', { skip }, async t => {
  const directory = t.testdir({ child: {} })
  const packed = writeSparseCheckpoint(join(directory, '270M'), '270M', 'q4', 'panels')
  const file = weightsOf(packed)
  const { size } = statSync(file)
  const own = () => mappingsOf(file, readFileSync('/proc/self/smaps', 'utf8'))
  const model = await OpenELM.load(packed)
  await model.logits([1])
  const [alone, ...others] = own()
  t.same(others, [])
  t.ok(alone!.rss > 0.95 * size && alone!.pss > 0.95 * size, 'a token reads them where they are')

  const { result, exit, stderr } = await childRunner(join(directory, 'child'))(
    async ({ OpenELM, startWorker }, packed) => {
      const { readFileSync } = await import('node:fs')
      const read = (name: string) => readFileSync(`/proc/self/${name}`, 'utf8')
      const worker = startWorker(async ({ OpenELM, tell }, packed) => {
        const model = await OpenELM.load(packed)
        await model.logits([1])
        tell('ready')
        setInterval(() => model, 1000)
      }, packed)
      const model = await OpenELM.load(packed)
      await model.logits([1])
      await new Promise(resolve => worker.once('message', resolve))
      const smaps = read('smaps')
      await worker.terminate()
      await model.dispose()
      return { smaps, afterwards: read('maps') }
    },
    [packed],
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  const shared = mappingsOf(file, result.smaps)
  t.equal(shared.length, 2, 'one for each model')
  for (const { rss, pss } of shared) t.ok(rss > 0.95 * size && pss < 0.35 * size, 'a third each')
  t.notMatch(result.afterwards, file)
  await model.dispose()
  t.same(own(), [])
})
