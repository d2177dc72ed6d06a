import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { initTiny, succeed, tinyConfig } from '../helpers/cli.js'
import { decodeFloats, encodeFloats, readSafetensors } from '../helpers/safetensors.js'

const tiny = await initTiny(t)

t.test('init draws by the rule of CoreNet', async t => {
  const dir = join(t.testdir(), 'new')
  await succeed(t, 'init', '--config', tinyConfig, '--dtype', 'float32', dir)
  const { num_transformer_layers: numLayers, model_dim: modelDim } = JSON.parse(
    readFileSync(join(dir, 'config.json'), 'utf8'),
  )
  for (const [name, { shape, bytes, dtype }] of readSafetensors(join(dir, 'model.safetensors'))) {
    const values = decodeFloats(bytes, dtype)
    if (shape.length === 1) {
      t.ok(
        values.every(value => value === 1),
        `${name} is 1`,
      )
      continue
    }
    const isResidual = name.includes('out_proj') || name.includes('proj_2')
    const expected = isResidual ? (2 * numLayers * modelDim) ** -0.5 : shape[1]! ** -0.5
    const std = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length)
    // Five times the standard error of the estimate.
    t.ok(Math.abs(std / expected - 1) < 5 / Math.sqrt(2 * values.length), `${name}: ${std}`)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    t.ok(Math.abs(mean) < (5 * expected) / Math.sqrt(values.length), `${name}: mean ${mean}`)
  }
})

t.test('init draws the same for the same seed, and in every dtype', async t => {
  const weights = async (name: string, ...args: string[]) => {
    const dir = join(t.testdirName, name)
    await succeed(t, 'init', '--config', tinyConfig, ...args, dir)
    return readFileSync(join(dir, 'model.safetensors'))
  }
  t.testdir()
  const first = readFileSync(join(tiny, 'model.safetensors'))
  t.ok(first.equals(await weights('zero', '--seed', '0')), 'the default seed is 0')
  t.notOk(first.equals(await weights('one', '--seed', '1')))

  await weights('single', '--dtype', 'float32')
  const rounded = readSafetensors(join(tiny, 'model.safetensors'))
  for (const [name, tensor] of readSafetensors(
    join(t.testdirName, 'single', 'model.safetensors'),
  )) {
    const values = decodeFloats(tensor.bytes, 'F32')
    t.equal(Buffer.compare(rounded.get(name)!.bytes, encodeFloats(values, 'BF16')), 0, name)
  }
})
