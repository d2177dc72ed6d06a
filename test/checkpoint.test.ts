import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type DType, openCheckpoint, tensorHeaders } from '../lib/checkpoint.js'
import { configToJson } from '../lib/config.js'
import { testConfigs, writeTestCheckpoint } from './helpers/checkpoints.js'
import { writeSafetensors } from './helpers/safetensors.js'
import {
  embeddings,
  invalidCheckpoint,
  modelDir,
  outProj,
  rawTensor,
  rawTensors,
  type Tensors,
  tiny,
  totalOf,
  untied,
} from './helpers/tiny-checkpoint.js'

/** Opens a directory with one weight file, a float32 one with the changes applied. */
function openChanged(t: Test, change: (tensors: Tensors) => void, config = tiny) {
  const tensors = rawTensors('float32', config)
  change(tensors)
  const json = configToJson(config, 'float32')
  return openCheckpoint(modelDir(t, { 'config.json': json, 'model.safetensors': tensors }))
}

t.test('checkpoints of another writer open', async t => {
  const cases = [
    ['one-layer', { dtype: 'F32' }],
    ['multi-query', { dtype: 'F16', shards: 3 }],
    ['rounding-ties', { dtype: 'BF16', coreNetNames: true }],
    ['no-qk-norm', { dtype: 'F16' }],
    ['plain-ffn-untied', { dtype: 'BF16', shards: 2, coreNetNames: true }],
  ] as const
  const dtypes = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' }
  for (const [name, options] of cases) {
    const dir = t.testdir()
    const { weights } = writeTestCheckpoint(dir, testConfigs[name], { seed: 1, ...options })
    const { tensors, dtype, unexpected } = await openCheckpoint(dir)
    t.equal(dtype, dtypes[options.dtype])
    t.same([...tensors.keys()].sort(), [...weights.keys()].sort(), name)
    t.same(unexpected, [])
  }
})

t.test('CoreNet names', async t => {
  const coreNet = (tensors: Tensors): Tensors => {
    const rename = (name: string) =>
      name === 'lm_head.weight' ? 'classifier.weight' : name.replace('transformer.', '')
    return new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]))
  }
  const open = (tensors: Tensors, config = tiny) => {
    const json = configToJson(config, 'float32')
    return openCheckpoint(modelDir(t, { 'config.json': json, 'weights.safetensors': tensors }))
  }
  const plain = await open(coreNet(rawTensors('float32')))
  t.same([...plain.tensors.keys()], [...rawTensors('float32').keys()])
  const { tensors } = await open(coreNet(rawTensors('float32', untied)), untied)
  t.same(tensors.get('lm_head.weight')?.shape, [9, 40])

  const withRows = (rows: number) =>
    rawTensors('float32').set(embeddings, rawTensor('F32', [rows, 40]))
  const taller = await open(coreNet(withRows(12)))
  t.same(taller.tensors.get(embeddings)?.shape, [12, 40], 'rows that pad the vocabulary')
  t.equal(taller.byteLength, plain.byteLength + 3 * 40 * 4)
  await t.rejects(open(coreNet(withRows(8))), invalidCheckpoint(/to be \[9,40\].*\[8,40\]/))
  await t.rejects(open(withRows(12)), invalidCheckpoint(/to be \[9,40\].*\[12,40\]/))

  const twice = new Map([...rawTensors('float32'), ...coreNet(rawTensors('float32'))])
  await t.rejects(open(twice), invalidCheckpoint(/mixes the names of Hugging Face and of CoreNet/))
  const mixed = rawTensors('float32')
  mixed.delete('transformer.norm.weight')
  mixed.set('norm.weight', rawTensor('F32', [40]))
  await t.rejects(open(mixed), invalidCheckpoint(/mixes the names/))
})

t.test('a prefix that all names share', async t => {
  const coreNet = (name: string) => name.replace('transformer.', '')
  const open = (rename: (name: string) => string) => {
    const tensors = new Map([...rawTensors('float32')].map(([name, raw]) => [rename(name), raw]))
    return openCheckpoint(modelDir(t, { 'model.safetensors': tensors }))
  }
  const plain = [...rawTensors('float32').keys()]
  for (const prefix of ['_orig_mod.', 'module.', 'module._orig_mod.', 'model.']) {
    t.same([...(await open(name => prefix + name)).tensors.keys()], plain, prefix)
    t.same([...(await open(name => prefix + coreNet(name))).tensors.keys()], plain, prefix)
  }
  const some = open(name => (name === outProj ? name : `module.${name}`))
  await t.rejects(some, invalidCheckpoint(/there is no tensor .*; there is "module\..*for example/))
})

t.test('tensors that the model has no use for', async t => {
  const { unexpected, byteLength } = await openChanged(t, tensors => {
    tensors.set('lm_head.weight', rawTensor('F32', [9, 40]))
    tensors.set('transformer.layers.2.attn_norm.weight', rawTensor('F64', [40]))
    tensors.set('transformer.layers.0.attn.pos_embedding.inv_freq', rawTensor('F32', [2]))
    tensors.set('new', { dtype: 'F8_E8M0', shape: [5], bytes: Buffer.alloc(5) })
    tensors.set('transformer.causal_mask', rawTensor('BOOL', [16, 16]))
  })
  t.same(unexpected, ['lm_head.weight', 'transformer.layers.2.attn_norm.weight', 'new'])
  t.equal(byteLength, totalOf(tensorHeaders(tiny, 'float32')))
})

t.test('tensors that do not fit config.json', async t => {
  const cases: [string, (tensors: Tensors) => unknown, RegExp][] = [
    [
      'missing',
      tensors => tensors.delete(outProj),
      /there is no tensor .*1\.attn\.out_proj\.weight; there is "transformer\..*", for example$/,
    ],
    [
      'transposed',
      tensors =>
        tensors.set('transformer.layers.0.attn.out_proj.weight', rawTensor('F32', [24, 40])),
      /0\.attn\.out_proj\.weight to be \[40,24\], as the config implies, received \[24,40\]/,
    ],
    ['of another rank', tensors => tensors.set(outProj, rawTensor('F32', [1600])), /\[1600\]/],
    [
      'a norm as a matrix',
      tensors => tensors.set('transformer.norm.weight', rawTensor('F32', [1, 40])),
      /\[1,40\]/,
    ],
    [
      'float64',
      tensors => tensors.set(outProj, rawTensor('F64', [40, 40])),
      /F32 or F16 or BF16, received F64/,
    ],
    [
      'of a newer type',
      tensors => tensors.set(outProj, { dtype: 'F4', shape: [40, 40], bytes: Buffer.alloc(800) }),
      /F32 or F16 or BF16, received F4/,
    ],
    ['int8', tensors => tensors.set(outProj, rawTensor('I8', [40, 40])), /received I8/],
  ]
  for (const [what, change, reason] of cases) {
    await t.rejects(openChanged(t, change), invalidCheckpoint(reason), what)
  }
  await t.rejects(
    openChanged(t, tensors => tensors.delete('lm_head.weight'), untied),
    invalidCheckpoint(/there is no tensor lm_head\.weight/),
  )
})

t.test('the dtype of mixed floats is that of most bytes', async t => {
  const { dtype } = await openChanged(t, tensors => {
    for (const [name, { shape }] of tensors) {
      if (shape.length === 2 && !name.includes('1.ffn')) tensors.set(name, rawTensor('BF16', shape))
    }
    tensors.set('transformer.norm.weight', rawTensor('F16', [40]))
  })
  t.equal(dtype, 'float32', 'two wide matrices outweigh all others')
  const almost = await openChanged(t, tensors => {
    tensors.set('transformer.norm.weight', rawTensor('F16', [40]))
    tensors.set(outProj, rawTensor('BF16', [40, 40]))
  })
  t.equal(almost.dtype, 'float32')
  t.equal(almost.tensors.get(outProj)?.dtype, 'BF16')
})

t.test('the metadata names the quantised format', async t => {
  const open = (dtype: DType, metadata: Record<string, string>) => {
    const dir = modelDir(t, {})
    writeSafetensors(join(dir, 'model.safetensors'), rawTensors(dtype), metadata)
    return openCheckpoint(dir)
  }
  const q8 = { 'openelm.dtype': 'q8', 'openelm.group_size': '32' }
  t.equal((await open('q8', q8)).dtype, 'q8')
  await t.rejects(open('q8', {}), invalidCheckpoint(/received I8/))
  await t.rejects(open('q4', q8), invalidCheckpoint(/to be I8, received U8/))
  await t.rejects(open('float32', q8), invalidCheckpoint(/weight to be I8, received F32/))
  const size = { ...q8, 'openelm.group_size': '64' }
  await t.rejects(open('q8', size), invalidCheckpoint(/group_size to be "32", received "64"/))
  await t.rejects(open('q8', { 'openelm.dtype': 'q8' }), invalidCheckpoint(/received undefined/))
  const q5 = { ...q8, 'openelm.dtype': 'q5' }
  await t.rejects(open('q8', q5), invalidCheckpoint(/to be "q8" or "q4", received "q5"/))
})

t.test('what is not there or cannot be read', async t => {
  const dir = t.testdir({ file: '' })
  for (const path of [join(dir, 'nowhere'), join(dir, 'file'), join(dir, 'a\0b')]) {
    await t.rejects(openCheckpoint(path), { code: 'MODEL_NOT_FOUND', message: /not a directory/ })
  }
  await t.rejects(openCheckpoint(dir), { code: 'IO_ERROR', message: /config\.json/ })

  const directory = modelDir(t, {})
  mkdirSync(join(directory, 'model.safetensors'))
  await t.rejects(openCheckpoint(directory), { code: 'IO_ERROR', message: /not a regular file/ })
})

t.test('a pipe is no file to wait for', { skip: process.platform === 'win32' }, async t => {
  const dir = modelDir(t, {})
  execFileSync('mkfifo', [join(dir, 'model.safetensors')])
  await t.rejects(openCheckpoint(dir), { code: 'IO_ERROR', message: /not a regular file/ })
})
