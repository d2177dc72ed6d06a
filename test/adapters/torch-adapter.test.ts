import { join } from 'node:path'
import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { merge } from '../../lib/train/index.js'
import { run, succeed } from '../helpers/cli.js'
import { testConfigs } from '../helpers/configs.js'
import { goldenTokens, goldenWeights } from '../helpers/golden-weights.js'
import { encodeFloats, type RawTensor, readSafetensors } from '../helpers/safetensors.js'
import { dict, pickle, tensor, writeZip } from '../helpers/torch-zip.js'
import { tensorShapes } from '../reference.js'
import { type Kind, writeCoreNet, writeGoldenModel } from './golden-adapter.js'

const dir = t.testdir()
const base = join(dir, 'base')
writeGoldenModel(base)

/** Writes tensors as torch.save does. */
function writeTorch(file: string, tensors: ReadonlyMap<string, RawTensor>, key?: string): void {
  const all = [...tensors]
  const pickled = all.map(([name, { shape }], i): [string, Buffer] => {
    const length = shape.reduce((product, size) => product * size, 1)
    const strides = shape.length === 1 ? [1] : [shape[1]!, 1]
    return [name, tensor({ key: String(i), length, shape: [...shape], strides })]
  })
  const state = dict(Object.fromEntries(pickled))
  writeZip(file, [
    { name: 'x/data.pkl', data: pickle(key === undefined ? state : dict({ [key]: state }), '.') },
    ...all.map(([, { bytes }], i) => ({ name: `x/data/${i}`, data: Buffer.from(bytes) })),
  ])
}

/** The tensors of the model under the names that CoreNet gives them beside an adapter. */
function ownTensors(adapter: ReadonlyMap<string, RawTensor>): Map<string, RawTensor> {
  const isAdapted = (module: string) =>
    [...adapter.keys()].some(name => name.startsWith(`${module}.lora_`))
  const shapes = tensorShapes(testConfigs.golden)
  const own = [...goldenWeights()].map(([name, values]): [string, RawTensor] => {
    const module = name.replace('transformer.', '').replace(/\.weight$/, '')
    const shape = [...shapes.get(name)!]
    // Of other numbers than the base: nothing of them may get into the result.
    const bytes = encodeFloats(
      values.map(value => value + 1),
      'F32',
    )
    return [
      isAdapted(module) ? `${module}.base_layer.weight` : `${module}.weight`,
      { dtype: 'F32', shape, bytes },
    ]
  })
  return new Map(own)
}

async function logitsOf(model: string): Promise<Float32Array> {
  await using loaded = await OpenELM.load(model, { backend: 'cpu' })
  return await loaded.logits(goldenTokens)
}

const kinds: Record<string, Kind> = {
  lora: {},
  'lora of the embedding': { embedding: true },
  'dora beside lora of the embedding': { embedding: true, dora: true },
}

for (const [name, kind] of Object.entries(kinds)) {
  t.test(`an adapter of CoreNet in a PyTorch file, converted and merged: ${name}`, async t => {
    const stored = join(dir, `${name}.safetensors`)
    writeCoreNet(stored, kind)
    await merge(base, [stored], join(dir, `expected ${name}`))
    const expected = await logitsOf(join(dir, `expected ${name}`))

    const adapter = readSafetensors(stored)
    const files: [what: string, tensors: ReadonlyMap<string, RawTensor>, key?: string][] = [
      ['alone', adapter],
      ['with the model', new Map([...ownTensors(adapter), ...adapter])],
      [
        'of a training checkpoint',
        new Map([...ownTensors(adapter), ...adapter]),
        'model_state_dict',
      ],
    ]
    for (const [what, tensors, key] of files) {
      const path = join(dir, `${name} ${what}`)
      writeTorch(`${path}.pt`, tensors, key)
      await succeed(t, 'convert', `${path}.pt`, `${path} converted.safetensors`)
      const merged = `${path} merged`
      const { code, stderr } = await run(
        'merge',
        merged,
        '-m',
        base,
        '--adapter',
        `${path} converted.safetensors`,
      )
      t.equal(code, 0, stderr)
      t.same(await logitsOf(merged), expected, what)
      t.notSame(expected, await logitsOf(base))
    }
  })
}

t.test('a PyTorch file itself is no adapter, and the error says what to do', async t => {
  const file = join(dir, 'lora alone.pt')
  const { code, stderr } = await run('merge', join(dir, 'x'), '-m', base, '--adapter', file)
  t.equal(code, 1)
  t.match(stderr, /lora alone\.pt: .*openelm convert/)
})
