import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openCheckpoint, tensorHeaders, writeCheckpoint } from '../lib/checkpoint.js'
import { writeSafetensors } from './helpers/safetensors.js'
import {
  contentOf,
  embeddings,
  invalidCheckpoint,
  modelDir,
  rawTensor,
  rawTensors,
  type Tensors,
  tiny,
  totalOf,
} from './helpers/tiny-checkpoint.js'

t.test('which files hold the weights', async t => {
  const tensors = rawTensors('float32')
  const renamed = await openCheckpoint(modelDir(t, { 'weights.safetensors': tensors }))
  t.match(renamed.tensors.get(embeddings)?.file, /weights\.safetensors$/)

  const preferred = { 'model.safetensors': tensors, 'model-00001-of-00001.safetensors': 'broken' }
  t.equal((await openCheckpoint(modelDir(t, preferred))).tensors.size, tensors.size)

  const leftover = { 'weights.safetensors': tensors, '._weights.safetensors': 'broken' }
  t.equal((await openCheckpoint(modelDir(t, leftover))).tensors.size, tensors.size)

  await t.rejects(openCheckpoint(modelDir(t, {})), invalidCheckpoint(/received none/))
  const two = { 'a.safetensors': tensors, 'b.safetensors': tensors }
  await t.rejects(
    openCheckpoint(modelDir(t, two)),
    invalidCheckpoint(/received 2 without an index/),
  )
})

t.test('an index that lies', async t => {
  const entries = [...rawTensors('float32')]
  const total = totalOf(tensorHeaders(tiny, 'float32'))
  const honest = Object.fromEntries(
    entries.map(([name], i) => [name, i < 5 ? 'a.safetensors' : 'b.safetensors']),
  )
  const open = (index: object | string, files: Record<string, Tensors> = {}) =>
    openCheckpoint(
      modelDir(t, {
        'a.safetensors': new Map(entries.slice(0, 5)),
        'b.safetensors': new Map(entries.slice(5)),
        'model.safetensors.index.json': index,
        ...files,
      }),
    )
  t.equal((await open({ weight_map: honest })).byteLength, total)
  t.equal((await open({ metadata: { total_size: total }, weight_map: honest })).byteLength, total)

  const map = (changes: object) => ({ weight_map: { ...honest, ...changes } })
  const swapped = { [entries[0]![0]]: 'b.safetensors' }
  const shard = (name: unknown) => map({ [embeddings]: name })
  const notPlain = /index\.json: expected weight_map of .* to be the name of a \.safetensors file/
  const cases: [string, object | string, RegExp][] = [
    ['not JSON', '{"weight_map": {', /malformed JSON/],
    ['equal keys', '{"weight_map": {}, "weight_map": {}}', /appears twice/],
    ['no weight_map', {}, /expected weight_map to be an object, received undefined/],
    ['an empty weight_map', { weight_map: {} }, /there is no tensor/],
    ['a weight_map that is a list', { weight_map: [] }, /received an array/],
    ['a parent directory', shard('../b.safetensors'), notPlain],
    ['an absolute path', shard('/b.safetensors'), notPlain],
    ['a subdirectory', shard('c/b.safetensors'), notPlain],
    ['a Windows path', shard('..\\b.safetensors'), notPlain],
    ['a Windows drive', shard('c:b.safetensors'), notPlain],
    ['a NUL', shard('b\0.safetensors'), notPlain],
    ['a hidden file', shard('.b.safetensors'), notPlain],
    ['another kind of file', shard('config.json'), notPlain],
    ['no name', shard(''), notPlain],
    ['a number', shard(1), notPlain],
    [
      'a shard that is missing',
      shard('c.safetensors'),
      /there is no file c\.safetensors beside it/,
    ],
    ['the wrong shard', map(swapped), /a\.safetensors holds .*, but weight_map says otherwise/],
    [
      'a tensor that no shard holds',
      map({ more: 'a.safetensors' }),
      /no shard holds the tensor "more"/,
    ],
  ]
  for (const [what, index, reason] of cases) {
    await t.rejects(open(index), invalidCheckpoint(reason), what)
  }

  const right = await open({ metadata: { total_size: total }, weight_map: honest })
  t.same(right.remarks, [])
  for (const size of [total + 1, `${total}`, null]) {
    const { remarks } = await open({ metadata: { total_size: size }, weight_map: honest })
    t.match(remarks, [/^total_size of .*index\.json is .*, the tensors take \d+ bytes$/], 'is told')
  }

  const unlisted = Object.fromEntries(Object.entries(honest).slice(1))
  await t.rejects(open({ weight_map: unlisted }), invalidCheckpoint(/says otherwise/))
  const twice = { 'b.safetensors': new Map([...entries.slice(5), ...entries.slice(0, 1)]) }
  await t.rejects(open({ weight_map: honest }, twice), invalidCheckpoint(/says otherwise/))
})

t.test('shards must agree on the format', async t => {
  const dir = t.testdir()
  await writeCheckpoint(dir, tiny, 'q8', h => [contentOf(h)], { maxShardBytes: 1 })
  const norm = tensorHeaders(tiny, 'q8')[0]!
  const file = join(
    dir,
    JSON.parse(readFileSync(join(dir, 'model.safetensors.index.json'), 'utf8')).weight_map[
      norm.name
    ],
  )
  writeSafetensors(file, new Map([[norm.name, rawTensor(norm.dtype, norm.shape)]]))
  await t.rejects(openCheckpoint(dir), invalidCheckpoint(/openelm\.dtype differs from that of/))
})
