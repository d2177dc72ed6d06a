import { join } from 'node:path'
import t from 'tap'
import { configToJson, presets } from '../../lib/config.js'
import type { DType } from '../../lib/tensor-headers.js'
import { finetuningMemory } from '../../lib/train/index.js'
import { initTiny, run, succeed } from '../helpers/cli.js'
import { readSafetensors } from '../helpers/safetensors.js'

const tiny = await initTiny(t)

t.test('inspect counts what the released models have', async t => {
  const published = {
    '270M': 271_527_168,
    '450M': 457_179_136,
    '1.1B': 1_079_891_456,
    '3B': 3_036_647_424,
  }
  for (const [preset, parameters] of Object.entries(published)) {
    t.equal(
      JSON.parse(await succeed(t, 'inspect', '--preset', preset, '--json')).parameters,
      parameters,
    )
  }
  const smallest = JSON.parse(await succeed(t, 'inspect', '--preset', '270M', '--json'))
  t.equal(smallest.layers.length, 16)
  t.match(smallest.layers[0], { numQueryHeads: 12, numKvHeads: 3, ffnDim: 768 })
  t.match(smallest.layers[15], { numQueryHeads: 20, numKvHeads: 5, ffnDim: 5120 })
  t.equal(smallest.memory.weights.bfloat16, 543_054_336)
  t.equal(smallest.memory.kvCache.float16, 31.5 * 2 ** 20)

  const table = await succeed(t, 'inspect', '--preset', '270M')
  t.match(table, /^parameters +271,527,168$/m)
  t.match(table, /^ +0 +12 +3 +768 +5,409,408$/m)
  t.match(table, /^weights, bfloat16 +517.9 MiB$/m)
  const names = table.matchAll(/^([a-z]+(?:_[a-z]+)+) +\S+$/gm)
  const inFile = Object.keys(configToJson(presets['270M'], 'bfloat16'))
  const shown = [...names].map(([, name]) => name!)
  t.ok(shown.length > 15)
  t.same(
    shown.filter(name => !inFile.includes(name)),
    ['rms_norm_eps'], // which a file has when it is not the usual one
  )
})

t.test('inspect tells the memory of fine-tuning, by method and dtype', async t => {
  const args = ['inspect', '--preset', '270M', '--finetune', '1024']
  const found = async (...more: string[]) =>
    JSON.parse(await succeed(t, ...args, '--json', ...more)).memory.finetuning as Row[]
  interface Row {
    method: 'lora' | 'dora' | 'full'
    recompute: boolean
    bytes: Record<DType, number>
  }
  const rows = await found()
  const tokens = 1024
  for (const { method, recompute, bytes } of rows) {
    for (const [dtype, count] of Object.entries(bytes) as [DType, number][]) {
      const shape = { method, rank: 16, dtype, tokens, recompute }
      t.equal(count, finetuningMemory(presets['270M'], shape), `${method}, ${dtype}`)
    }
    const { float32, bfloat16, q8, q4 } = bytes
    if (method === 'full') t.same(Object.keys(bytes), ['float32'])
    else t.ok(float32 > bfloat16 && bfloat16 > q8 && q8 > q4)
  }
  const kinds = ['lora', 'dora', 'full'].flatMap(method => [`${method} false`, `${method} true`])
  t.same(
    rows.map(({ method, recompute }) => `${method} ${recompute}`),
    kinds,
  )
  const wide = await found('--rank', '64')
  t.ok(wide[0]!.bytes.q8 > rows[0]!.bytes.q8, 'a wider adapter takes more')

  const table = await succeed(t, ...args)
  t.match(table, /^fine-tuning +float32 +float16 +bfloat16 +q8 +q4$/m)
  t.match(table, /^lora, recomputed( +\d[\d.]* [MG]iB){5}$/m)
  t.match(table, /^full +\d[\d.]* GiB *$/m)
  t.match(await run(...args.slice(0, -1), '0'), { code: 2, stderr: /--finetune/ })
})

t.test('inspect lists the tensors of a checkpoint', async t => {
  const facts = JSON.parse(await succeed(t, 'inspect', tiny, '--tensors', '--json'))
  t.match(facts.checkpoint, { directory: tiny, dtype: 'bfloat16', unexpected: [] })
  const names = facts.checkpoint.tensors.map((tensor: { name: string }) => tensor.name)
  t.same(names, [...readSafetensors(join(tiny, 'model.safetensors')).keys()])

  const table = await succeed(t, 'inspect', tiny, '--tensors')
  t.match(table, /^transformer.token_embeddings.weight +BF16 +32000 x 128 +model.safetensors$/m)
  t.notMatch(await succeed(t, 'inspect', tiny), 'token_embeddings')
})

t.test('a model is named by -m or by the argument, not by both', async t => {
  const facts = await succeed(t, 'inspect', '--json', tiny)
  t.equal(await succeed(t, 'inspect', '--json', '-m', tiny), facts)
  const { code, stderr } = await run('inspect', '-m', tiny, tiny)
  t.same({ code, stderr }, { code: 2, stderr: 'openelm: the model is named twice\n' })
})
