import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseConfig, presets } from '../../lib/config.js'
import { openCheckpoint, torchToCheckpoint } from '../../lib/convert/index.js'
import { tensorHeaders } from '../../lib/tensor-headers.js'
import { openTorchCheckpoint } from '../../lib/torch/torch-checkpoint.js'
import { decodeFloats, readSafetensors } from '../helpers/safetensors.js'
import { dict, pickle, tensor, writeZip } from '../helpers/torch-zip.js'

const data = join(import.meta.dirname, '..', 'torch', 'data')
const torchFile = (name: string) => join(data, `${name}.pt`)
const config = parseConfig(JSON.parse(readFileSync(join(data, 'tiny.json'), 'utf8')), 'tiny.json')

t.test('a model under the names of CoreNet becomes a checkpoint of the same bits', async t => {
  const dir = t.testdir()
  for (const [name, dtype, normType] of [
    ['training', 'float32', 'F32'],
    ['bfloat16', 'bfloat16', 'BF16'],
    ['mixed', 'float16', 'F32'],
  ] as const) {
    const out = join(dir, name)
    const progress: number[] = []
    await torchToCheckpoint(torchFile(name), out, {
      config,
      onProgress: done => progress.push(done),
    })
    t.same(readdirSync(out).sort(), ['config.json', 'model.safetensors'])
    const checkpoint = await openCheckpoint(out)
    t.equal(checkpoint.dtype, dtype)
    t.equal(progress.at(-1), checkpoint.byteLength)
    const written = readSafetensors(join(out, 'model.safetensors'))
    for (const [key, stored] of readSafetensors(join(data, `${name}.safetensors`))) {
      const { dtype, bytes } = written.get(`transformer.${key}`)!
      // 16 rows in the file, 9 in the vocabulary.
      const expected = stored.bytes.slice(0, bytes.length)
      t.equal(stored.bytes.length / bytes.length, key === 'token_embeddings.weight' ? 16 / 9 : 1)
      t.ok(Buffer.from(bytes).equals(expected), `${name}: ${key}`)
      if (stored.shape.length === 1) t.equal(dtype, normType)
    }
  }
})

t.test('types that have no common one but float32', async t => {
  const dir = t.testdir()
  const file = join(dir, 'x.pt')
  const items = tensorHeaders(config, 'float32').map(({ name, shape }, i) => {
    const isHalf = i % 2 === 0
    const length = shape.reduce((product, length) => product * length, 1)
    return { name, shape, length, isHalf, key: String(i) }
  })
  const pickled = items.map(({ name, shape, length, isHalf, key }) => {
    const storage = isHalf ? 'HalfStorage' : 'BFloat16Storage'
    const strides = shape.length === 1 ? [1] : [shape[1]!, 1]
    return [`module.${name}`, tensor({ key, storage, length, shape: [...shape], strides })] as const
  })
  writeZip(file, [
    { name: 'x/data.pkl', data: pickle(dict({ module: dict(Object.fromEntries(pickled)) }), '.') },
    ...items.map(({ key, length, isHalf }) => {
      const numbers = Uint16Array.from({ length }, (_, i) => (isHalf ? 0x3c00 : 0x3f80) + i)
      return { name: `x/data/${key}`, data: Buffer.from(numbers.buffer) }
    }),
  ])
  await torchToCheckpoint(file, join(dir, 'out'), { config })
  const written = readSafetensors(join(dir, 'out', 'model.safetensors'))
  for (const { name, isHalf } of items) {
    const values = decodeFloats(written.get(name)!.bytes, 'F32')
    const expected = values.map((_, i) => 1 + i * 2 ** (isHalf ? -10 : -7))
    t.same(values, expected, name)
  }
})

t.test('a released model is told by its shapes', async t => {
  const dir = t.testdir()
  for (const [size, preset] of Object.entries(presets)) {
    const file = join(dir, 'x.pt')
    const headers = tensorHeaders(preset, 'float32')
    const rowsOf = (shape: readonly number[]) => (shape[0] === 32000 ? 32128 : shape[0]!)
    const lengthOf = (shape: readonly number[]) => rowsOf(shape) * (shape[1] ?? 1)
    const items = headers.map(({ name, shape }, i) => {
      const strides = shape.length === 1 ? [1] : [shape[1]!, 1]
      const view = { shape: [rowsOf(shape), ...shape.slice(1)], strides }
      const item = tensor({ key: String(i), length: lengthOf(shape), ...view })
      return [name.replace('transformer.', ''), item] as const
    })
    // Holes, which take no disk: the file of the 3B model is 12 GB long.
    const length = writeZip(file, [
      { name: 'x/data.pkl', data: pickle(dict(Object.fromEntries(items)), '.') },
      ...headers.map(({ shape }, i) => ({ name: `x/data/${i}`, data: lengthOf(shape) * 4 })),
    ])
    const checkpoint = await openTorchCheckpoint(file)
    t.same(checkpoint.config, preset, size)
    const last = Math.max(...[...checkpoint.tensors.values()].map(({ offset }) => offset))
    t.ok(last < length && last > length * 0.9, `${length} bytes`)
  }
})

t.test('what is no such model', async t => {
  const out = join(t.testdir(), 'out')
  const convert = (name: string, options?: object) =>
    torchToCheckpoint(torchFile(name), out, options)
  await t.rejects(convert('training'), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.config',
    message:
      /^expected options\.config, because the tensors of .*training\.pt have the shapes of no/,
  })
  await t.rejects(convert('types', { config }), {
    code: 'INVALID_CHECKPOINT',
    message: /types\.pt: there is no tensor transformer\..*; there is "float64", for example$/,
  })
  await t.rejects(convert('training', { config: presets['270M'] }), {
    code: 'INVALID_CHECKPOINT',
    message: /training\.pt: expected .* to be \[\d+\], as the config implies, received \[\d+\]$/,
  })
  const stop = new Error('stop')
  await t.rejects(convert('training', { config, signal: AbortSignal.abort(stop) }), stop)
  t.notOk(existsSync(out))
})
