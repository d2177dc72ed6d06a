import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gguf } from '@huggingface/gguf'
import t from 'tap'
import { adapterToGguf } from '../../../lib/convert/index.js'
import { goldenAdapter, scale, writeGoldenModel, writePeft } from '../../adapters/golden-adapter.js'
import { decodeFloats } from '../../helpers/safetensors.js'

const dir = t.testdir()
const model = join(dir, 'model')
const adapter = join(dir, 'adapter')
writeGoldenModel(model)
const peft = writePeft(adapter, {})

/** The metadata of a file, and each tensor as its rows. */
async function read(file: string, type: 'F32' | 'F16' = 'F32') {
  const { metadata, tensorInfos, tensorDataOffset } = await gguf(file, { allowLocalFile: true })
  const bytes = readFileSync(file)
  const tensors = new Map(
    tensorInfos.map(({ name, shape, offset }) => {
      const [columns, rows] = shape.map(Number) as [number, number]
      const begin = Number(tensorDataOffset) + Number(offset)
      const size = rows * columns * (type === 'F32' ? 4 : 2)
      const values = decodeFloats(bytes.subarray(begin, begin + size), type)
      return [name, { shape: [rows, columns], values }] as const
    }),
  )
  return { metadata, tensors }
}

t.test('a file holds the adapter under the names of llama.cpp', async t => {
  const file = join(dir, 'adapter.gguf')
  await adapterToGguf(adapter, file, { model })
  const { metadata, tensors } = await read(file)
  t.match(metadata, {
    'general.architecture': 'openelm',
    'general.type': 'adapter',
    'adapter.type': 'lora',
    'adapter.lora.alpha': 8,
  })
  const parts = ['attn_qkv', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down']
  const names = [0, 1, 2].flatMap(layer =>
    parts.flatMap(part => ['a', 'b'].map(half => `blk.${layer}.${part}.weight.lora_${half}`)),
  )
  t.same([...tensors.keys()].sort(), names.sort())
  const given = goldenAdapter({})
  const same = (name: string, { values, shape }: { values: Float64Array; shape: number[] }) => {
    t.same(tensors.get(name)!.shape, shape, name)
    t.same([...tensors.get(name)!.values], [...Float32Array.from(values)], name)
  }
  const { a, b } = given.get('transformer.layers.2.attn.out_proj')!
  same('blk.2.attn_output.weight.lora_a', a)
  same('blk.2.attn_output.weight.lora_b', b)
  const ffn = given.get('transformer.layers.1.ffn.proj_1')!
  const half = ffn.b.values.length / 2
  same('blk.1.ffn_gate.weight.lora_a', ffn.a)
  same('blk.1.ffn_up.weight.lora_a', ffn.a)
  const shape = [half / 4, 4]
  same('blk.1.ffn_gate.weight.lora_b', { values: ffn.b.values.slice(0, half), shape })
  same('blk.1.ffn_up.weight.lora_b', { values: ffn.b.values.slice(half), shape })
})

t.test('scales that no common alpha expresses are multiplied into B', async t => {
  const own = join(dir, 'own')
  writePeft(own, {})
  const alphas = { ...peft, alpha_pattern: { out_proj: 4 } }
  writeFileSync(join(own, 'adapter_config.json'), JSON.stringify(alphas))
  const file = join(dir, 'own.gguf')
  await adapterToGguf(own, file, { model, dtype: 'f16' })
  const { metadata, tensors } = await read(file, 'F16')
  t.match(metadata, { 'adapter.lora.alpha': 0 })
  const given = goldenAdapter({})
  for (const [module, name, factor] of [
    ['transformer.layers.0.attn.out_proj', 'blk.0.attn_output', scale / 2],
    ['transformer.layers.0.ffn.proj_2', 'blk.0.ffn_down', scale],
  ] as const) {
    const { values } = tensors.get(`${name}.weight.lora_b`)!
    const expected = given.get(module)!.b.values.map(value => value * factor)
    t.ok(
      values.every((value, i) => Math.abs(value - expected[i]!) < 2e-4),
      module,
    )
    t.ok(values.some(value => Math.abs(value) > 0.05))
  }
})

t.test('what llama.cpp lacks is refused', async t => {
  const file = join(dir, 'refused.gguf')
  for (const kind of [{ dora: true }, { embedding: true }]) {
    const other = join(dir, JSON.stringify(kind).replace(/\W/g, ''))
    writePeft(other, kind)
    const refused = { code: 'NOT_CONVERTIBLE', message: /merge it into the model/ }
    await t.rejects(adapterToGguf(other, file, { model }), refused)
  }
  t.notOk(existsSync(file))
  writeFileSync(file, '')
  const taken = { code: 'IO_ERROR', message: /already exists/ }
  await t.rejects(adapterToGguf(adapter, file, { model }), taken)
  await t.rejects(adapterToGguf(adapter, file, {} as never), { code: 'INVALID_ARGUMENT' })
})
