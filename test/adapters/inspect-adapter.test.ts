import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { quantize } from '../../lib/convert/index.js'
import { inspectAdapter, merge } from '../../lib/train/index.js'
import { run, succeed } from '../helpers/cli.js'
import {
  goldenAdapter,
  scale,
  writeCoreNet,
  writeGoldenModel,
  writeMlx,
  writePeft,
} from './golden-adapter.js'

const dir = t.testdir()
const base = join(dir, 'base')
writeGoldenModel(base)
const [lora, dora, mlx] = ['lora', 'dora', 'mlx'].map(name => join(dir, name)) as [
  string,
  string,
  string,
]
const corenet = join(dir, 'corenet.safetensors')
const kind = { embedding: true }
const config = writePeft(lora, kind)
writeFileSync(
  join(lora, 'adapter_config.json'),
  JSON.stringify({ ...config, base_model_name_or_path: 'apple/OpenELM-270M' }),
)
writePeft(dora, { dora: true })
writeMlx(mlx, kind)
writeCoreNet(corenet, kind)

t.test('what an adapter is made of, with its base and without, whoever wrote it', async t => {
  const golden = goldenAdapter(kind)
  const sizes = [...golden.values()].map(({ a, b }) => a.values.length + b.values.length)
  const parameters = sizes.reduce((sum, size) => sum + size, 0)
  const formats = { peft: lora, mlx, corenet }
  for (const [format, path] of Object.entries(formats)) {
    const facts = await inspectAdapter(path, { model: base })
    t.match(facts, { path, format, method: 'lora', parameters, adaptsHead: format === 'mlx' })
    t.equal(facts.base, format === 'peft' ? 'apple/OpenELM-270M' : undefined)
    t.same(
      facts.targets.map(({ name }) => name).sort(),
      [...golden.keys()].map(module => `${module}.weight`).sort(),
    )
    for (const { rank, scale: own } of facts.targets) {
      t.same({ rank, own }, { rank: 4, own: format === 'corenet' ? 1 : scale })
    }
    const alone = await inspectAdapter(path)
    const { targets } = alone
    t.notOk(targets.some(target => 'change' in target))
    if (format === 'corenet') continue // whose embedding has spare rows
    const shapes = new Map(targets.map(({ name, ...facts }) => [name, facts]))
    for (const { name, change, ...expected } of facts.targets) t.same(shapes.get(name), expected)
    t.equal(alone.byteLength, 4 * parameters)
  }
})

t.test('the change of each matrix is the one that merging makes', async t => {
  for (const adapter of [lora, dora]) {
    const { targets } = await merge(base, [adapter], join(dir, `merged ${adapter.slice(-4)}`))
    const told: [number, number][] = []
    const facts = await inspectAdapter(adapter, {
      model: base,
      onProgress: (done, total) => told.push([done, total]),
    })
    const { length } = facts.targets
    t.same(
      told,
      Array.from({ length }, (_, i) => [i + 1, length]),
    )
    for (const { name, change } of targets) {
      t.equal(facts.targets.find(target => target.name === name)?.change, change)
      t.ok(change > 0)
    }
  }
  const q8 = join(dir, 'q8')
  await quantize(base, q8, { dtype: 'q8' })
  const [first] = (await inspectAdapter(lora, { model: q8 })).targets
  t.ok(first!.change! > 0, 'the weights of a quantised base are read as well')
})

t.test('the command line', async t => {
  const table = await succeed(t, 'inspect', lora)
  t.match(table, /^adapter +LoRA, of PEFT$/m)
  t.match(table, /^base +apple\/OpenELM-270M$/m)
  t.match(table, /^transformer\.layers\.0\.attn\.qkv_proj\.weight +\d+ x \d+ +4 +2$/m)
  t.match(await succeed(t, 'inspect', lora, '-m', base), /qkv_proj\.weight .* 4 +2 +\d+\.\d+%$/m)
  const ofDora = await succeed(t, 'inspect', dora, '-m', base)
  t.match(ofDora, /DoRA, of PEFT\nbase +not named/)
  const facts = JSON.parse(await succeed(t, 'inspect', corenet, '-m', base, '--json'))
  t.match(facts, { format: 'corenet', method: 'lora', path: corenet })
  t.match(await succeed(t, 'inspect', mlx), /^output +adapted with the embedding$/m)

  const fail = async (args: string[], code: number, message: RegExp) => {
    const result = await run('inspect', ...args)
    t.equal(result.code, code)
    t.match(result.stderr, message)
  }
  await fail([lora, '--tensors'], 2, /--tensors is for models/)
  await fail([lora, '--train', '64'], 2, /--train is for models/)
  await fail([lora, '-m', join(dir, 'none')], 1, /none/)
  await fail([join(base, 'model.safetensors')], 1, /it holds no adapter/)
})

t.test('an adapter of another model', async t => {
  await t.rejects(inspectAdapter(lora, { model: 'openelm-nano' }), {
    code: 'INVALID_CHECKPOINT',
    message: /lora_.*, as the model has it, received \[/,
  })
  await t.rejects(inspectAdapter(lora, { model: join(dir, 'none') }), { code: 'MODEL_NOT_FOUND' })
  await t.rejects(inspectAdapter(join(dir, 'none')), { code: 'IO_ERROR' })
})
