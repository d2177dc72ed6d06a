import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readConfig } from '../../lib/config.js'
import { torchToCheckpoint } from '../../lib/convert/index.js'
import { average } from '../../lib/train/average.js'
import { testConfigs, writeTestCheckpoint } from '../helpers/checkpoints.js'
import {
  decodeFloats,
  encodeFloats,
  readSafetensors,
  writeSafetensors,
} from '../helpers/safetensors.js'

const config = testConfigs['odder-widths']

t.test('every weight is the mean, to the last bit', async t => {
  const dir = t.testdir()
  const dtypes = ['F32', 'BF16', 'F16', 'F32', 'F32'] as const
  const directories = dtypes.map((_, seed) => join(dir, String(seed)))
  const all = dtypes.map((dtype, seed) =>
    writeTestCheckpoint(directories[seed]!, config, { dtype, seed: seed + 1 }),
  )
  writeFileSync(join(directories[0]!, 'tokenizer.json'), '{}')
  for (const [dtype, stored] of [
    ['float32', 'F32'],
    ['bfloat16', 'BF16'],
  ] as const) {
    const out = join(dir, dtype)
    await average(directories, out, { dtype })
    const tensors = readSafetensors(join(out, 'model.safetensors'))
    for (const [name, first] of all[0]!.weights) {
      const mean = first.map((_, i) => {
        return all.reduce((sum, { weights }) => sum + weights.get(name)![i]!, 0) / all.length
      })
      const expected = decodeFloats(
        encodeFloats(Float64Array.from(Float32Array.from(mean)), stored),
        stored,
      )
      const { bytes } = tensors.get(name)!
      t.same(decodeFloats(bytes, stored), expected, name)
    }
    t.ok(existsSync(join(out, 'tokenizer.json')))
  }
})

t.test('the rows that CoreNet pads the vocabulary with are left out', async t => {
  const dir = t.testdir()
  const [padded, out] = [join(dir, 'padded'), join(dir, 'out')]
  const options = { dtype: 'F32', seed: 1, coreNetNames: true } as const
  const { weights } = writeTestCheckpoint(padded, config, options)
  const name = 'token_embeddings.weight'
  const file = join(padded, 'model.safetensors')
  const tensors = readSafetensors(file)
  const [rows, columns] = tensors.get(name)!.shape as [number, number]
  const bytes = Buffer.concat([tensors.get(name)!.bytes, Buffer.alloc(3 * columns * 4, 1)])
  tensors.set(name, { dtype: 'F32', shape: [rows + 3, columns], bytes })
  writeSafetensors(file, tensors)
  await average([padded, padded], out)
  const mean = readSafetensors(join(out, 'model.safetensors')).get(`transformer.${name}`)!
  t.same(decodeFloats(mean.bytes, 'F32'), weights.get(`transformer.${name}`))
})

t.test('PyTorch files take part, in the shape that is given', async t => {
  const dir = t.testdir()
  const torch = join(import.meta.dirname, '..', 'torch', 'data')
  const shape = await readConfig(join(torch, 'tiny.json'))
  const files = ['training', 'bfloat16'].map(name => join(torch, `${name}.pt`))
  await torchToCheckpoint(files[0]!, join(dir, 'a'), { config: shape })
  await torchToCheckpoint(files[1]!, join(dir, 'b'), { config: shape })
  await average(files, join(dir, 'files'), { config: shape })
  await average([join(dir, 'a'), files[1]!], join(dir, 'mixed'), { config: shape })
  await average([join(dir, 'a'), join(dir, 'b')], join(dir, 'directories'))
  const weights = (name: string) => readFileSync(join(dir, name, 'model.safetensors'))
  t.ok(weights('files').equals(weights('directories')))
  t.ok(weights('mixed').equals(weights('directories')))
  await t.rejects(average(files, join(dir, 'out')), {
    code: 'INVALID_ARGUMENT',
    argument: 'options.config',
  })
})

t.test('an abort ends the writing, and nothing is left', async t => {
  const dir = t.testdir()
  const [a, out] = [join(dir, 'a'), join(dir, 'out')]
  writeTestCheckpoint(a, config, { dtype: 'F32', seed: 1 })
  const controller = new AbortController()
  const stop = new Error('stop')
  const onProgress = () => controller.abort(stop)
  await t.rejects(average([a, a], out, { signal: controller.signal, onProgress }), stop)
  t.notOk(existsSync(out))
})

t.test('checkpoints of another shape, or none', async t => {
  const dir = t.testdir()
  const [a, b] = [join(dir, 'a'), join(dir, 'b')]
  writeTestCheckpoint(a, config, { dtype: 'F32', seed: 1 })
  writeTestCheckpoint(b, testConfigs['odd-widths'], { dtype: 'F32', seed: 1 })
  await t.rejects(average([a, b], join(dir, 'out')), {
    code: 'INVALID_CHECKPOINT',
    message: /differs/,
  })
  for (const [directories, out, options] of [
    [[], join(dir, 'out'), {}],
    [[1], join(dir, 'out'), {}],
    [a, join(dir, 'out'), {}],
    [[a], undefined, {}],
    [[a], join(dir, 'out'), { dtype: 'q8' }],
    [[a], join(dir, 'out'), null],
  ]) {
    const call = average(directories as string[], out as string, options as object)
    await t.rejects(call, { code: 'INVALID_ARGUMENT' })
  }
  await t.rejects(average([a, join(dir, 'c')], join(dir, 'out')), { code: 'MODEL_NOT_FOUND' })
  await t.rejects(average([a], a), { code: 'IO_ERROR' })
})
