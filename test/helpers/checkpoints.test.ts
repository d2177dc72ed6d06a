import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { layerShapes, referenceLogits, tensorShapes } from '../reference.js'
import {
  dequantizeCheckpoint,
  relativeError,
  testConfigs,
  writeTestCheckpoint,
} from './checkpoints.js'
import { decodeFloats, encodeFloats, readSafetensors, writeSafetensors } from './safetensors.js'

t.test('the test models cover what OpenELM can vary', async t => {
  const configs = Object.values(testConfigs)
  const layers = configs.flatMap(layerShapes)
  t.ok(configs.length >= 14)
  t.same(new Set<unknown>(configs.map(config => config.num_gqa_groups)), new Set([1, 2, 4, 8]))
  t.same(new Set<unknown>(layers.map(layer => layer.headDim)), new Set([8, 16, 32, 64, 80, 128]))
  t.ok(layers.some(layer => layer.ffnDim % 16 !== 0))
  for (const key of ['ffn_with_glu', 'normalize_qk_projections', 'share_input_output_layers']) {
    t.same(new Set<unknown>(configs.map(config => config[key])), new Set([true, false]), key)
  }
})

t.test('every test model gives finite logits that differ from token to token', async t => {
  for (const [name, config] of Object.entries(testConfigs)) {
    const { weights } = writeTestCheckpoint(t.testdir(), config, { dtype: 'F32', seed: 1 })
    t.same([...weights.keys()], [...tensorShapes(config).keys()])
    const tokens = [1, 5, 42, 96, 7, 7, 3]
    const logits = referenceLogits(config, weights, tokens)
    t.ok(logits.every(Number.isFinite), name)
    const [fifth, sixth] = [4, 5].map(row =>
      logits.subarray(row * config.vocab_size, (row + 1) * config.vocab_size),
    )
    t.ok(relativeError(fifth!, sixth!) > 0.01, name)
  }
})

t.test('a checkpoint holds the weights it returns', async t => {
  const config = testConfigs['odder-widths']
  for (const dtype of ['F32', 'F16', 'BF16'] as const) {
    const dir = t.testdir()
    const { weights } = writeTestCheckpoint(dir, config, { dtype, seed: 7 })
    t.same(readdirSync(dir).sort(), ['config.json', 'model.safetensors'])
    t.ok(isDeepStrictEqual(dequantizeCheckpoint(join(dir, 'model.safetensors')), weights))
    const again = (seed: number) => writeTestCheckpoint(dir, config, { dtype, seed }).weights
    t.ok(isDeepStrictEqual(again(7), weights))
    t.notOk(isDeepStrictEqual(again(8), weights))
  }
})

t.test('a checkpoint can come in shards and under CoreNet names', async t => {
  const dir = t.testdir()
  const config = testConfigs['plain-ffn-untied']
  const options = { dtype: 'F16', seed: 3, shards: 3, coreNetNames: true } as const
  const { weights } = writeTestCheckpoint(dir, config, options)
  const index = JSON.parse(readFileSync(join(dir, 'model.safetensors.index.json'), 'utf8'))
  const shards = [...new Set<string>(Object.values(index.weight_map))]
  t.equal(shards.length, 3)
  t.equal(index.weight_map['token_embeddings.weight'], 'model-00001-of-00003.safetensors')
  t.equal(index.weight_map['classifier.weight'], 'model-00003-of-00003.safetensors')
  const read = new Map(shards.flatMap(file => [...dequantizeCheckpoint(join(dir, file))]))
  t.ok(isDeepStrictEqual(read, weights))
  const bytes = shards.flatMap(file => [...readSafetensors(join(dir, file)).values()])
  t.equal(
    index.metadata.total_size,
    bytes.reduce((sum, tensor) => sum + tensor.bytes.length, 0),
  )
})

t.test('bfloat16 rounds to nearest, ties to even', async t => {
  const step = 2 ** -7
  const rounded = (value: number) =>
    decodeFloats(encodeFloats(Float64Array.of(value), 'BF16'), 'BF16')[0]
  t.equal(rounded(1 + 0.5 * step), 1)
  t.equal(rounded(1 + 0.51 * step), 1 + step)
  t.equal(rounded(1 + 1.5 * step), 1 + 2 * step)
  t.equal(rounded(-1 - 1.49 * step), -1 - step)
  t.equal(rounded(0), 0)
})

t.test('quantised tensors become what their groups and scales say', async t => {
  const dir = t.testdir()
  const config = testConfigs['odder-widths']
  const [rows, columns] = tensorShapes(config).get('lm_head.weight') as [number, number]
  const groups = Math.ceil(columns / 32)
  const scales = Float64Array.from({ length: rows * groups }, (_, i) => 2 ** -(i % 5))
  const scale = { dtype: 'F16', shape: [rows, groups], bytes: encodeFloats(scales, 'F16') }
  const file = join(dir, 'quantised.safetensors')
  const dequantized = (dtype: string, bytes: Uint8Array) => {
    const shape = [rows, groups, bytes.length / rows / groups]
    const entries = { 'lm_head.weight': { dtype, shape, bytes }, 'lm_head.weight_scale': scale }
    writeSafetensors(file, new Map(Object.entries(entries)))
    return dequantizeCheckpoint(file, config).get('lm_head.weight')!
  }

  const int8 = new Uint8Array(rows * groups * 32).map((_, i) => i)
  const q8 = dequantized('I8', int8)
  t.equal(q8.length, rows * columns)
  t.equal(q8[43], 43 * 2 ** -1)
  t.equal(q8[columns + 43], (107 % 128) * 2 ** -3)
  t.equal(q8[2 * columns + 1], (129 - 256) * 2 ** -4)

  const nibbles = new Uint8Array(rows * groups * 16).map((_, i) => (i % 16) + 16 * (15 - (i % 16)))
  const q4 = dequantized('U8', nibbles)
  t.equal(q4.length, rows * columns)
  t.equal(q4[3], 3 - 8)
  t.equal(q4[16 + 3], 12 - 8)
  t.equal(q4[columns + 32 + 3], (3 - 8) * 2 ** -3)
})

t.test('relativeError is of the whole matrix', async t => {
  t.equal(relativeError(Float64Array.of(3, 0), Float64Array.of(3, 4)), 4 / 5)
  t.equal(relativeError(Float32Array.of(1, 2), Float64Array.of(1, 2)), 0)
  t.throws(() => relativeError(new Float64Array(1), new Float64Array(2)), RangeError)
})
