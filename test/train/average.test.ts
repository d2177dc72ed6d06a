import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { average } from '../../lib/train/average.js'
import { testConfigs, writeTestCheckpoint } from '../helpers/checkpoints.js'
import { decodeFloats, encodeFloats, readSafetensors } from '../helpers/safetensors.js'

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

t.test('checkpoints of another shape, or none', async t => {
  const dir = t.testdir()
  const [a, b] = [join(dir, 'a'), join(dir, 'b')]
  writeTestCheckpoint(a, config, { dtype: 'F32', seed: 1 })
  writeTestCheckpoint(b, testConfigs['odd-widths'], { dtype: 'F32', seed: 1 })
  await t.rejects(average([a, b], join(dir, 'out')), {
    code: 'INVALID_CHECKPOINT',
    message: /differs/,
  })
  await t.rejects(average([], join(dir, 'out')), { code: 'INVALID_ARGUMENT' })
  await t.rejects(average([a, join(dir, 'c')], join(dir, 'out')), { code: 'MODEL_NOT_FOUND' })
  await t.rejects(average([a], a), { code: 'IO_ERROR' })
})
