import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkpointToGguf } from '../../../lib/convert/gguf/checkpoint-to-gguf.js'
import {
  encodeGgufHeader,
  type Metadata,
  type MetadataValue,
} from '../../../lib/convert/gguf/header.js'
import { openGguf } from '../../../lib/convert/gguf/open-gguf.js'
import { testConfigs } from '../../helpers/checkpoints.js'
import { writeTinyModel } from '../../helpers/tiny-model.js'

const dir = t.testdir({ in: {} })
const file = join(dir, 'model.gguf')
const config = { ...testConfigs.golden, vocab_size: 300, num_transformer_layers: 2 }
await checkpointToGguf(writeTinyModel(join(dir, 'in'), config), file, { dtype: 'q8_0' })
const intact = readFileSync(file)
const headerBytes = intact.length - dataBytes()

function dataBytes(): number {
  // The data begins with the embedding, the last tensor is the norm: both sizes are multiples of 32.
  const at = intact.indexOf('output_norm.weight') + 'output_norm.weight'.length
  return Number(intact.readBigUInt64LE(at + 4 + 8 + 4)) + 128 * 4
}

async function outcome(): Promise<string> {
  try {
    await openGguf(file)
    return 'opened'
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    const codes = ['INVALID_GGUF', 'INVALID_CONFIG', 'INVALID_TOKENIZER', 'NOT_CONVERTIBLE']
    return codes.includes(code) ? code : `${code}: ${message}`
  }
}

t.test('any byte of a header changed', async t => {
  let state = 1
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const counts: Record<string, number> = {}
  for (let i = 0; i < 400; i++) {
    const changed = Buffer.from(intact)
    changed[random(headerBytes)] = random(256)
    writeFileSync(file, changed)
    const result = await outcome()
    counts[result] = (counts[result] ?? 0) + 1
  }
  t.comment(JSON.stringify(counts))
  const known = ['opened', 'INVALID_GGUF', 'INVALID_CONFIG', 'INVALID_TOKENIZER', 'NOT_CONVERTIBLE']
  t.same(
    Object.keys(counts).filter(result => !known.includes(result)),
    [],
  )
  t.ok(counts.INVALID_GGUF! > 100)
})

t.test('cut short anywhere', async t => {
  for (let percent = 99; percent >= 0; percent -= 3) {
    writeFileSync(file, intact)
    truncateSync(file, Math.floor((intact.length * percent) / 100))
    t.not(await outcome(), 'opened', `${percent}%`)
  }
})

t.test('what is wrong is said', async t => {
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
  const string = (value: string): MetadataValue => ({ type: 'string', value })
  const valid: Metadata = new Map([
    ['general.architecture', string('openelm')],
    ['openelm.block_count', u32(1)],
    ['openelm.context_length', u32(16)],
    ['openelm.embedding_length', u32(32)],
    ['openelm.feed_forward_length', u32(32)],
    ['openelm.attention.head_count', u32(4)],
    ['openelm.attention.head_count_kv', u32(2)],
    ['openelm.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-6 }],
    ['openelm.vocab_size', u32(8)],
  ])
  const cases: [changes: [string, MetadataValue][], code: string, message: RegExp][] = [
    [[], 'INVALID_GGUF', /there is no tensor token_embd.weight/],
    [[['general.architecture', string('gpt2')]], 'NOT_CONVERTIBLE', /architecture is "gpt2"/],
    [[['general.architecture', u32(1)]], 'INVALID_GGUF', /architecture to be a string, received 1/],
    [[['openelm.rope.scaling.type', string('yarn')]], 'NOT_CONVERTIBLE', /scaled: yarn/],
    [[['openelm.rope.dimension_count', u32(4)]], 'NOT_CONVERTIBLE', /the width of a head, 8/],
    [[['openelm.block_count', u32(2 ** 31)]], 'INVALID_GGUF', /it has 2147483648 layers/],
    [
      [['openelm.attention.head_count', { type: 'array', of: 'u32', value: [1, 2] }]],
      'INVALID_GGUF',
      /a number above 0, or 1 of them, received an array of 2/,
    ],
    [[['openelm.attention.head_count_kv', u32(3)]], 'INVALID_CONFIG', /num_gqa_groups/],
    [[['general.alignment', u32(0)]], 'INVALID_GGUF', /alignment/],
  ]
  for (const [changes, code, message] of cases) {
    writeFileSync(file, encodeGgufHeader(new Map([...valid, ...changes]), []))
    await t.rejects(openGguf(file), { code, message })
  }

  const info = (name: string, dimensions: number[], typeId = 0, offset = 0) => {
    return { name, dimensions, typeId, offset }
  }
  const embedding = info('token_embd.weight', [32, 8])
  for (const [tensors, code, message] of [
    [[info('token_embd.weight', [8, 32])], 'INVALID_GGUF', /expected .* to be \[32,32\]/],
    [[info('token_embd.weight', [32, 8], 12)], 'NOT_CONVERTIBLE', /ggml's type 12, not F32/],
    [[info('token_embd.weight', [32, 8], 14)], 'INVALID_GGUF', /received \[8,32\] Q6_K/],
    [[embedding, embedding], 'INVALID_GGUF', /two tensors have one name/],
  ] as const) {
    writeFileSync(file, encodeGgufHeader(valid, tensors))
    await t.rejects(openGguf(file), { code, message })
  }
  for (const [content, message] of [
    ['', /./],
    ['GGML', /magic number/],
    ['GGUF\x09\0\0\0', /version/],
  ] as const) {
    writeFileSync(file, content)
    await t.rejects(openGguf(file), { code: 'INVALID_GGUF', message })
  }
  await t.rejects(openGguf(dir), { code: 'IO_ERROR' })
})

t.test('tensors lie apart, and none is a stranger', async t => {
  const at = (name: string, field: number) => {
    const begin = intact.indexOf(name) + name.length
    return begin + 4 + 8 * intact.readUInt32LE(begin) + 4 * field
  }
  const change = (edit: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(intact)
    edit(bytes)
    writeFileSync(file, bytes)
    return openGguf(file)
  }
  const norm = 'output_norm.weight'
  await t.rejects(
    change(bytes => bytes.writeBigUInt64LE(0n, at(norm, 1))),
    { code: 'INVALID_GGUF', message: /inside of what precedes it/ },
  )
  await t.rejects(
    change(bytes => bytes.writeBigUInt64LE(2n ** 60n, at(norm, 1))),
    { code: 'INVALID_GGUF', message: /but the file has/ },
  )
  await t.rejects(
    change(bytes => bytes.write('output_scale', bytes.indexOf(norm))),
    { code: 'INVALID_GGUF', message: /no tensor output_norm.weight/ },
  )
})
