import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { quantize } from '../../lib/convert/index.js'
import { OpenELM } from '../../lib/index.js'
import { merge } from '../../lib/train/index.js'
import { dequantizeCheckpoint, relativeError } from '../helpers/checkpoints.js'
import { goldenTokens, goldenWeights } from '../helpers/golden-weights.js'
import { readSafetensors, writeSafetensors } from '../helpers/safetensors.js'
import {
  goldenAdapter,
  goldenCases,
  goldenLogits,
  scale,
  writeCoreNet,
  writeGoldenModel,
  writeMlx,
  writePeft,
} from './golden-adapter.js'

const dir = t.testdir()
const base = join(dir, 'base')
writeGoldenModel(base)

async function logitsOf(model: string): Promise<number[][]> {
  await using loaded = await OpenELM.load(model, { backend: 'cpu' })
  const logits = await loaded.logits(goldenTokens)
  const last = (goldenTokens.length - 1) * loaded.config.vocabSize
  return [0, last].map(row => [...logits.subarray(row, row + 3)])
}

for (const [name, kind] of goldenCases) {
  t.test(`a merge of ${name} computes what the adapter does`, async t => {
    const formats = {
      peft: (path: string) => writePeft(path, kind),
      corenet: (path: string) => writeCoreNet(`${path}.safetensors`, kind),
    }
    for (const [format, write] of Object.entries(formats)) {
      const adapter = join(dir, `${format} ${name}`)
      write(adapter)
      const out = join(dir, `merged ${format} ${name}`)
      const path = format === 'corenet' ? `${adapter}.safetensors` : adapter
      const report = await merge(base, [path], out)
      t.match(report, { dtype: 'float32', isUntied: 'embedding' in kind })
      t.equal(report.targets.length, goldenAdapter(kind).size)
      t.ok(report.kept.smallest > 0.999)
      const flat = (rows: number[][]) => Float64Array.from(rows.flat())
      const logits = await logitsOf(out)
      t.ok(relativeError(flat(logits), flat(goldenLogits[name])) < 1e-5, `${format}: ${logits}`)
    }
  })
}

t.test('the adapters of mlx-lm, whose head is adapted with the embedding', async t => {
  for (const name of ['lora', 'lora of the embedding and the head', 'dora'] as const) {
    const adapter = join(dir, `mlx ${name}`)
    writeMlx(adapter, { embedding: name.includes('head'), dora: name === 'dora' })
    const out = join(dir, `merged mlx ${name}`)
    t.match(await merge(base, [adapter], out), { isUntied: false })
    const flat = (rows: number[][]) => Float64Array.from(rows.flat())
    t.ok(relativeError(flat(await logitsOf(out)), flat(goldenLogits[name])) < 1e-5, name)
  }
})

t.test('several adapters add up, each at its scale', async t => {
  const out = join(dir, 'several')
  const adapters = [
    { path: join(dir, 'peft lora'), scale: 0.25 },
    { path: join(dir, 'mlx lora'), scale: -0.75 },
  ]
  await merge(base, adapters, out)
  const merged = dequantizeCheckpoint(join(out, 'model.safetensors'))
  for (const [module, { a, b }] of goldenAdapter({})) {
    const name = `${module}.weight`
    const columns = a.shape[1]
    const expected = goldenWeights()
      .get(name)!
      .map((value, i) => {
        const [row, column] = [Math.floor(i / columns), i % columns]
        const products = [0, 1, 2, 3].map(
          k => b.values[row * 4 + k]! * a.values[k * columns + column]!,
        )
        return value - 0.5 * scale * products.reduce((sum, product) => sum + product, 0)
      })
    t.ok(relativeError(merged.get(name)!, expected) < 1e-7, name)
  }
})

t.test('a quantised base, and what rounding keeps of a small change', async t => {
  const small = join(dir, 'q8')
  await quantize(base, small, { dtype: 'q8' })
  const out = join(dir, 'merged q8')
  const adapter = { path: join(dir, 'peft lora'), scale: 1e-3 }
  const report = await merge(small, [adapter], out)
  t.equal(report.dtype, 'bfloat16')
  t.ok(report.kept.smallest < 0.9 && report.kept.median < 0.95)
  t.ok(report.targets.every(({ change }) => change > 0 && change < 1e-3))
  const [merged, quantised] = [out, small].map(path =>
    dequantizeCheckpoint(join(path, 'model.safetensors')),
  )
  for (const [name, values] of merged!) {
    t.ok(relativeError(values, quantised!.get(name)!) < 4e-3, name)
  }
  const exact = await merge(small, [adapter], join(dir, 'exact'), { dtype: 'float32' })
  t.ok(exact.kept.smallest > 0.99)
})

t.test('an adapter that has learnt beside quantised weights belongs to them', async t => {
  const adapter = join(dir, 'of q4')
  writePeft(adapter, {})
  const file = join(adapter, 'adapter_model.safetensors')
  const tensors = readSafetensors(file)
  writeSafetensors(file, tensors, { format: 'pt', 'openelm.base_dtype': 'q4' })
  const { remarks } = await merge(base, [adapter], join(dir, 'merged of q4'))
  t.match(remarks, [/of q4 has learnt beside q4 weights .* these are float32$/])
  const small = join(dir, 'q4')
  await quantize(base, small, { dtype: 'q4' })
  t.same((await merge(small, [adapter], join(dir, 'merged q4'))).remarks, [])
  const plain = await merge(base, [join(dir, 'peft lora')], join(dir, 'merged plain'))
  t.same(plain.remarks, [])
})

t.test('what cannot be merged is refused, and nothing is left behind', async t => {
  const out = join(dir, 'refused')
  const [lora, dora] = [join(dir, 'peft lora'), join(dir, 'peft dora')]
  const refuse = async (adapters: Parameters<typeof merge>[1], code: string, message: RegExp) => {
    await t.rejects(merge(base, adapters, out), { code, message })
    t.notOk(existsSync(out))
  }
  await refuse([lora, dora], 'INVALID_ARGUMENT', /is a DoRA adapter/)
  await refuse([], 'INVALID_ARGUMENT', /adapters/)
  await refuse([{ path: lora, scales: 1 } as never], 'INVALID_ARGUMENT', /did you mean scale/)
  await refuse([join(dir, 'nothing')], 'IO_ERROR', /nothing/)
  const huge = { path: lora, scale: 1e8 }
  await t.rejects(merge(base, [huge], out, { dtype: 'float16' }), { code: 'NOT_CONVERTIBLE' })
  t.notOk(existsSync(out))
  const reason = new Error('enough')
  const options = { signal: AbortSignal.abort(reason) }
  await t.rejects(merge(base, [lora], out, options), reason)
  t.notOk(existsSync(out))
})

t.test('configs of PEFT that mean another model are refused by name', async t => {
  const adapter = join(dir, 'strange')
  const config = writePeft(adapter, {})
  const out = join(dir, 'strange merged')
  const refuse = async (change: object, message: RegExp, code = 'INVALID_ADAPTER') => {
    writeFileSync(join(adapter, 'adapter_config.json'), JSON.stringify({ ...config, ...change }))
    await t.rejects(merge(base, [adapter], out), { code, message })
  }
  await refuse({ peft_type: 'IA3' }, /expected peft_type "LORA", received "IA3"/)
  await refuse({ peft_type: undefined }, /expected peft_type/)
  await refuse({ lora_alpha: 0 }, /lora_alpha/)
  await refuse({ fan_in_fan_out: true }, /fan_in_fan_out true/)
  await refuse({ bias: 'all' }, /bias "all"/)
  await refuse({ lora_bias: true }, /lora_bias/)
  await refuse({ modules_to_save: ['lm_head'] }, /modules_to_save \["lm_head"\]/)
  await refuse({ init_lora_weights: 'pissa_niter_16' }, /init_lora_weights "pissa_niter_16"/)
  await refuse({ init_lora_weights: 'olora' }, /init_lora_weights/)
  for (const key of ['layer_replication', 'target_parameters', 'trainable_token_indices']) {
    await refuse({ [key]: [1] }, new RegExp(key))
  }
  for (const key of ['use_qalora', 'use_bdlora', 'arrow_config', 'alora_invocation_tokens']) {
    await refuse({ [key]: true }, new RegExp(key))
  }
  await refuse({ use_dora: true }, /no magnitudes of/, 'INVALID_CHECKPOINT')
  await refuse({ alpha_pattern: { '(': 1 } }, /not a regular expression/)
  await refuse({ alpha_pattern: { qkv_proj: 'x' } }, /expected a number/)
  await refuse({ peft_type: undefined, fine_tune_type: 'full' }, /that is no adapter/)
  const harmless = {
    init_lora_weights: 'gaussian',
    fan_in_fan_out: null,
    modules_to_save: [],
    new_key: 1,
  }
  writeFileSync(join(adapter, 'adapter_config.json'), JSON.stringify({ ...config, ...harmless }))
  await merge(base, [adapter], out)
})

t.test('alpha by pattern, and the scale of rsLoRA', async t => {
  const adapter = join(dir, 'patterns')
  const config = writePeft(adapter, {})
  const slow = `${'(a*)*'.repeat(20)}b`
  const changeOf = async (change: object) => {
    writeFileSync(join(adapter, 'adapter_config.json'), JSON.stringify({ ...config, ...change }))
    const out = join(t.testdir(), 'out')
    const { targets } = await merge(base, [adapter], out)
    return Object.fromEntries(targets.map(({ name, change }) => [name, change]))
  }
  const plain = await changeOf({})
  const ratios = async (change: object) => {
    const changed = await changeOf(change)
    return Object.entries(plain).map(([name, value]) => [name, changed[name]! / value] as const)
  }
  for (const [name, ratio] of await ratios({ use_rslora: true })) {
    t.ok(Math.abs(ratio - 2) < 1e-4, name) // alpha / 2 in the place of alpha / 4
  }
  const patterns = {
    [slow]: 99,
    'layers.1.attn.qkv_proj': 24,
    'layers\\.[02]\\.ffn.*': 16,
    out_proj: 4,
  }
  for (const [name, ratio] of await ratios({ alpha_pattern: patterns })) {
    const isSecond = name.includes('layers.1.')
    const expected = name.includes('out_proj')
      ? 0.5
      : name.includes('.ffn.')
        ? isSecond
          ? 1
          : 2
        : isSecond
          ? 3
          : 1
    t.ok(Math.abs(ratio - expected) < 1e-3, `${name}: ${ratio}`)
  }
})

t.test('tensors that are no adapter of the model are refused by name', async t => {
  const adapter = join(dir, 'torn')
  const file = join(adapter, 'adapter_model.safetensors')
  const out = join(dir, 'torn merged')
  const first = 'base_model.model.transformer.layers.0.attn.qkv_proj'
  const refuse = async (
    change: (tensors: ReturnType<typeof readSafetensors>) => void,
    message: RegExp,
  ) => {
    writePeft(adapter, {})
    const tensors = readSafetensors(file)
    change(tensors)
    writeSafetensors(file, tensors)
    await t.rejects(merge(base, [adapter], out), { code: 'INVALID_CHECKPOINT', message })
  }
  await refuse(all => all.delete(`${first}.lora_B.weight`), /qkv_proj.lora_A.weight stands without/)
  await refuse(all => all.delete(`${first}.lora_A.weight`), /qkv_proj.lora_B.weight stands without/)
  await refuse(
    all => all.set('stray', all.get(`${first}.lora_A.weight`)!),
    /stray is no tensor of an adapter/,
  )
  await refuse(all => {
    const last = 'base_model.model.transformer.layers.2.ffn.proj_2.lora_A.weight'
    const { bytes } = all.get(last)!
    all.set(last, { dtype: 'F32', shape: [4, 256], bytes: bytes.subarray(0, 4 * 4 * 256) })
  }, /expected .*layers.2.ffn.proj_2.lora_A.weight to be \[4,512\], .* received \[4,256\]/)
  await refuse(all => {
    const tensor = all.get(`${first}.lora_A.weight`)!
    const bytes = Buffer.from(tensor.bytes)
    bytes.writeFloatLE(Number.NaN, 8)
    all.set(`${first}.lora_A.weight`, { ...tensor, bytes })
  }, /qkv_proj.lora_A.weight holds a value that is not finite/)
  await refuse(all => {
    const tensor = all.get(`${first}.lora_A.weight`)!
    all.set(`${first}.lora_A.weight`, { ...tensor, dtype: 'I32' })
  }, /to be F32 or F16 or BF16, received I32/)
  await refuse(all => {
    const { bytes } = all.get(`${first}.lora_A.weight`)!
    const shape = [128]
    all.set(`${first}.lora_magnitude_vector`, {
      dtype: 'F32',
      shape,
      bytes: bytes.subarray(0, 512),
    })
  }, /use_dora is false/)
  await refuse(all => all.clear(), /holds no adapter/)
  await refuse(all => {
    for (const [name, tensor] of [...all]) {
      all.set(name.replace('layers.0', 'layers.7'), tensor)
    }
  }, /the model has no transformer.layers.7/)
})

t.test('names without the prefix of PeftModel, and the base among the tensors', async t => {
  const adapter = join(dir, 'bare')
  writePeft(adapter, { dora: true }, name => {
    const bare = name.replace('base_model.model.', '')
    return bare.endsWith('vector') ? `${bare}.weight` : bare
  })
  const file = join(adapter, 'adapter_model.safetensors')
  const tensors = readSafetensors(file)
  const bytes = new Uint8Array(8)
  tensors.set('transformer.token_embeddings.base_layer.weight', { dtype: 'F32', shape: [2], bytes })
  writeSafetensors(file, tensors)
  const out = join(dir, 'bare merged')
  await merge(base, [adapter], out)
  const [bare, full] = [out, join(dir, 'merged peft dora')].map(path =>
    readFileSync(join(path, 'model.safetensors')),
  )
  t.ok(bare!.equals(full!))
})
