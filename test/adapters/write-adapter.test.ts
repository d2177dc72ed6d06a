import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readAdapter } from '../../lib/adapters/read-adapter.js'
import { writeAdapter } from '../../lib/adapters/write-adapter.js'
import { parseConfig } from '../../lib/config.js'
import { testConfigs } from '../helpers/configs.js'
import { readSafetensors } from '../helpers/safetensors.js'
import { writeMlx, writePeft } from './golden-adapter.js'

const dir = t.testdir()
const config = parseConfig({ ...testConfigs.golden }, 'config.json')
const kinds = { lora: {}, dora: { dora: true }, embedding: { embedding: true, dora: true } }

for (const [name, kind] of Object.entries(kinds)) {
  t.test(`${name}: what is written is what was read`, async t => {
    const [given, first, second] = ['given', 'first', 'second'].map(part => join(dir, name, part))
    writePeft(given!, kind)
    const adapter = await readAdapter(given!, config)
    await writeAdapter(first!, adapter, 'apple/OpenELM-270M')
    const again = await readAdapter(first!, config)
    t.same(again, { ...adapter, path: first, base: 'apple/OpenELM-270M' })
    await writeAdapter(second!, again, 'apple/OpenELM-270M')
    for (const file of ['adapter_model.safetensors', 'adapter_config.json']) {
      t.ok(readFileSync(join(first!, file)).equals(readFileSync(join(second!, file))), file)
    }
    const [theirs, ours] = [given, first].map(path =>
      readSafetensors(join(path!, 'adapter_model.safetensors')),
    )
    t.same(new Map([...ours!]), new Map([...theirs!]))
    t.same([...ours!.keys()], [...theirs!.keys()].sort())
  })
}

t.test('the config is that of PEFT 0.9', async t => {
  const out = join(dir, 'config')
  writePeft(join(out, 'given'), { dora: true })
  await writeAdapter(out, await readAdapter(join(out, 'given'), config))
  const written = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8'))
  t.same(Object.keys(written), Object.keys(written).sort())
  t.match(written, {
    alpha_pattern: {},
    base_model_name_or_path: null,
    bias: 'none',
    lora_alpha: 8,
    peft_type: 'LORA',
    r: 4,
    rank_pattern: {},
    target_modules: ['out_proj', 'proj_1', 'proj_2', 'qkv_proj'],
    task_type: 'CAUSAL_LM',
    use_dora: true,
    use_rslora: false,
  })
  t.notOk('ensure_weight_tying' in written)
})

t.test('an adapter of mlx-lm comes back as one of PEFT with the same numbers', async t => {
  const [given, out] = [join(dir, 'mlx'), join(dir, 'mlx out')]
  writeMlx(given, { embedding: true })
  const adapter = await readAdapter(given, config)
  t.ok(adapter.adaptsHead)
  await writeAdapter(out, adapter)
  t.same(await readAdapter(out, config), { ...adapter, path: out, format: 'peft' })
})

t.test('targets with an alpha and a rank of their own', async t => {
  const [given, out] = [join(dir, 'own'), join(dir, 'own out')]
  writePeft(given, {})
  const adapter = await readAdapter(given, config)
  const [name, first] = [...adapter.targets][0]!
  const half = { ...first, rank: 2, scale: 5, a: first.a.slice(0, first.a.length / 2) }
  const b = first.b.filter((_, i) => i % 4 < 2)
  const targets = new Map([...adapter.targets, [name, { ...half, b }]])
  await writeAdapter(out, { ...adapter, targets })
  const written = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8'))
  t.same(written.rank_pattern, { [name.replace('.weight', '')]: 2 })
  t.same(written.alpha_pattern, { [name.replace('.weight', '')]: 10 })
  t.same((await readAdapter(out, config)).targets, targets)
})

t.test('a directory that cannot be written', async t => {
  writePeft(join(dir, 'lonely'), {})
  const adapter = await readAdapter(join(dir, 'lonely'), config)
  const file = join(dir, 'lonely', 'adapter_config.json')
  await t.rejects(writeAdapter(join(file, 'below'), adapter), { code: 'IO_ERROR' })
  t.notOk(existsSync(join(file, 'below')))
})
