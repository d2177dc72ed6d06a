import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { type LoadOptions, OpenELM } from '../lib/index.js'
import { testBackend } from './helpers/backend.js'
import { dequantizeCheckpoint } from './helpers/checkpoints.js'
import { encodeFloats, type RawTensor, writeSafetensors } from './helpers/safetensors.js'
import { type ConfigJson, layerShapes, tensorShapes } from './reference.js'

const nano = bundledModel('openelm-nano')!

/** The same function as openelm-nano's, with values that float16 does not hold. */
function writeLargeValues(directory: string): void {
  const config: ConfigJson = JSON.parse(readFileSync(join(nano, 'config.json'), 'utf8'))
  const weights = dequantizeCheckpoint(join(nano, 'model.safetensors'), config)
  for (const [layer, shape] of layerShapes(config).entries()) {
    const weight = (name: string) => weights.get(`transformer.layers.${layer}.attn.${name}.weight`)!
    const firstValue = (shape.numQueryHeads + shape.numKvHeads) * shape.headDim * config.model_dim
    const qkv = weight('qkv_proj')
    for (let i = firstValue; i < qkv.length; i++) qkv[i]! *= 2 ** 20
    const out = weight('out_proj')
    for (let i = 0; i < out.length; i++) out[i]! *= 2 ** -20
  }
  const tensors = new Map<string, RawTensor>()
  for (const [name, shape] of tensorShapes(config)) {
    tensors.set(name, { dtype: 'F32', shape, bytes: encodeFloats(weights.get(name)!, 'F32') })
  }
  writeSafetensors(join(directory, 'model.safetensors'), tensors)
  copyFileSync(join(nano, 'config.json'), join(directory, 'config.json'))
}

const cases: LoadOptions[] = [
  { dtype: 'float32', kvCacheDtype: 'float16' },
  { dtype: 'q8' },
  { dtype: 'q4' },
]

t.test('values beyond float16 stay finite in its cache', async t => {
  const directory = t.testdir()
  writeLargeValues(directory)
  for (const options of cases) {
    await using model = await OpenELM.load(directory, { ...options, backend: testBackend })
    const logits = await model.logits([1, 306, 263, 931])
    t.ok(logits.every(Number.isFinite), JSON.stringify(options))
  }
})
