import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gguf as parseGguf } from '@huggingface/gguf'
import t, { type Test } from 'tap'
import { bundledModel } from '../../../lib/bundled-models.js'
import { openCheckpoint, writeCheckpoint } from '../../../lib/checkpoint.js'
import { type OpenELMConfig, parseConfig, readConfig } from '../../../lib/config.js'
import { checkpointToGguf, type GgufDType } from '../../../lib/convert/gguf/checkpoint-to-gguf.js'
import { ggufToCheckpoint } from '../../../lib/convert/gguf/gguf-to-checkpoint.js'
import { quantize } from '../../../lib/convert/quantize.js'
import { loadTokenizer } from '../../../lib/tokenizer.js'
import {
  dequantizeCheckpoint,
  testConfigs,
  writeTestCheckpoint,
} from '../../helpers/checkpoints.js'
import { decodeFloats, encodeFloats, readSafetensors } from '../../helpers/safetensors.js'
import { contentOf } from '../../helpers/tiny-checkpoint.js'
import { writeTinyModel } from '../../helpers/tiny-model.js'
import { type ConfigJson, tensorShapes } from '../../reference.js'

/** What llama.cpp calls `llama`: no norms of queries and keys, and all layers alike. */
const uniform: ConfigJson = {
  ...testConfigs.golden,
  vocab_size: 300,
  normalize_qk_projections: false,
  share_input_output_layers: false,
  qkv_multipliers: 1,
  ffn_multipliers: 2,
}
const layerWise: ConfigJson = { ...testConfigs.golden, vocab_size: 300 }

const scratch = t.testdir()

function newDir(): string {
  return mkdtempSync(join(scratch, 'dir-'))
}

/** Converts a model directory to GGUF and back, and returns the new directory. */
async function roundTrip(dir: string, dtype?: GgufDType): Promise<string> {
  const out = newDir()
  const file = join(out, 'model.gguf')
  await checkpointToGguf(dir, file, { dtype })
  await ggufToCheckpoint(file, join(out, 'back'))
  return join(out, 'back')
}

function sameTensors(t: Test, actual: string, expected: string): void {
  const [a, b] = [actual, expected].map(dir => readSafetensors(join(dir, 'model.safetensors')))
  t.same([...a!.keys()].sort(), [...b!.keys()].sort())
  for (const [name, { dtype, shape, bytes }] of a!) {
    const other = b!.get(name)!
    t.same([dtype, ...shape], [other.dtype, ...other.shape], name)
    t.ok(Buffer.from(bytes).equals(other.bytes), name)
  }
}

async function sameShape(t: Test, actual: string, expected: string): Promise<void> {
  const shapes = await Promise.all(
    [actual, expected].map(async dir => {
      const config: Partial<OpenELMConfig> = { ...(await readConfig(join(dir, 'config.json'))) }
      // GGUF tells widths, not how they came about, nor what matters to training alone.
      const { qkvMultipliers, ffnMultipliers, ffnDimDivisor, ropeMaxLength, ...shape } = config
      return shape
    }),
  )
  t.same(shapes[0], shapes[1])
}

for (const [dtype, ggufDType] of [
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
] as const) {
  t.test(`${ggufDType} there and back gives the same model`, async t => {
    const models: (keyof typeof testConfigs | ConfigJson)[] = [
      '270M',
      'one-layer',
      'head-64-lists',
      'odd-widths',
      'other-constants',
      layerWise,
      uniform,
    ]
    for (const model of models) {
      const config = typeof model === 'string' ? testConfigs[model] : model
      const dir = writeTinyModel(newDir(), { ...config, vocab_size: 300 }, dtype)
      const back = await roundTrip(dir)
      sameTensors(t, back, dir)
      await sameShape(t, back, dir)
    }
  })
}

t.test('the header says what llama.cpp wants to know', async t => {
  const dir = writeTinyModel(newDir(), layerWise, 'BF16')
  const file = join(newDir(), 'model.gguf')
  await checkpointToGguf(dir, file, { dtype: 'q8_0' })
  const { metadata, tensorInfos, tensorDataOffset } = await parseGguf(file, {
    allowLocalFile: true,
  })
  t.match(metadata, {
    version: 3,
    'general.architecture': 'openelm',
    'general.file_type': 7,
    'openelm.block_count': 3,
    'openelm.context_length': 256,
    'openelm.embedding_length': 128,
    'openelm.attention.head_count': [2, 4, 4],
    'openelm.attention.head_count_kv': [1, 2, 2],
    'openelm.feed_forward_length': [64, 288, 512],
    'openelm.attention.key_length': 32,
    'openelm.attention.value_length': 32,
    'openelm.attention.layer_norm_rms_epsilon': Math.fround(1e-6),
    'openelm.rope.dimension_count': 32,
    'openelm.rope.freq_base': 10000,
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.unknown_token_id': 0,
    'tokenizer.ggml.add_bos_token': true,
    'tokenizer.ggml.add_space_prefix': false,
  })
  const { 'tokenizer.ggml.token_type': types, 'tokenizer.ggml.tokens': tokens } =
    metadata as unknown as Record<string, unknown>
  t.same((types as number[]).slice(0, 5), [2, 3, 3, 6, 6])
  t.same((tokens as string[]).slice(1, 4), ['<s>', '</s>', '<0x00>'])
  t.same((tokens as string[]).at(-1), '[PAD299]')

  t.equal(tensorInfos.length, 9 * 3 + 2)
  const described = tensorInfos
    .filter(({ name }) => !name.startsWith('blk.') || name.startsWith('blk.2.'))
    .map(({ name, dtype, shape }) => [name, dtype, ...shape.map(Number)])
  const [f32, q8] = [0, 8]
  t.same(described, [
    ['token_embd.weight', q8, 128, 300],
    ['blk.2.attn_norm.weight', f32, 128],
    ['blk.2.attn_qkv.weight', q8, 128, 256],
    ['blk.2.attn_q_norm.weight', f32, 32],
    ['blk.2.attn_k_norm.weight', f32, 32],
    ['blk.2.attn_output.weight', q8, 128, 128],
    ['blk.2.ffn_norm.weight', f32, 128],
    ['blk.2.ffn_gate.weight', q8, 128, 512],
    ['blk.2.ffn_up.weight', q8, 128, 512],
    ['blk.2.ffn_down.weight', q8, 512, 128],
    ['output_norm.weight', f32, 128],
  ])
  t.ok(tensorInfos.every(({ offset }) => (tensorDataOffset + offset) % 32n === 0n))
})

t.test('the rows of proj_1 and qkv_proj are where llama.cpp looks for them', async t => {
  const dir = newDir()
  const { weights } = writeTestCheckpoint(dir, uniform, { dtype: 'F32', seed: 2 })
  cpSync(join(writeTinyModel(newDir()), 'tokenizer.json'), join(dir, 'tokenizer.json'))
  const file = join(newDir(), 'model.gguf')
  await checkpointToGguf(dir, file, { dtype: 'f32' })
  const { tensorInfos, tensorDataOffset } = await parseGguf(file, { allowLocalFile: true })
  const read = (name: string) => {
    const { offset, shape } = tensorInfos.find(info => info.name === name)!
    const begin = Number(tensorDataOffset + offset)
    const length = 4 * Number(shape[0]! * shape[1]!)
    return decodeFloats(readFileSync(file).subarray(begin, begin + length), 'F32')
  }
  const d = 128
  const [headDim, queryRows, kvRows, ffnDim] = [32, 128, 64, 256]
  const row = (values: Float64Array, i: number) => [...values.subarray(i * d, (i + 1) * d)]
  const qkv = weights.get('transformer.layers.1.attn.qkv_proj.weight')!
  // Numbers 3 and 3 + 16 of the second head, which RoPE turns together, become neighbours.
  const query = read('blk.1.attn_q.weight')
  t.same(row(query, headDim + 6), row(qkv, headDim + 3))
  t.same(row(query, headDim + 7), row(qkv, headDim + 3 + 16))
  t.same(row(read('blk.1.attn_k.weight'), 1), row(qkv, queryRows + 16))
  t.same(row(read('blk.1.attn_v.weight'), 1), row(qkv, queryRows + kvRows + 1))
  const proj1 = weights.get('transformer.layers.1.ffn.proj_1.weight')!
  t.same(row(read('blk.1.ffn_gate.weight'), 5), row(proj1, 5))
  t.same(row(read('blk.1.ffn_up.weight'), 5), row(proj1, ffnDim + 5))
})

for (const dtype of ['q8', 'q4'] as const) {
  t.test(`a ${dtype} checkpoint there and back keeps every byte`, async t => {
    const tokenizer = join(writeTinyModel(newDir()), 'tokenizer.json')
    for (const json of [layerWise, uniform]) {
      const dir = newDir()
      const config = parseConfig(json, 'config')
      await writeCheckpoint(dir, config, dtype, header => [contentOf(header)])
      cpSync(tokenizer, join(dir, 'tokenizer.json'))
      sameTensors(t, await roundTrip(dir), dir)
    }
  })
}

t.test(
  'q4_0 keeps the embedding as Q8_0; rows that are no blocks are F16, so all is float32',
  async t => {
    const dir = writeTinyModel(newDir(), layerWise)
    t.equal((await openCheckpoint(await roundTrip(dir, 'q4_0'))).dtype, 'q4')
    t.equal((await openCheckpoint(await roundTrip(dir, 'q8_0'))).dtype, 'q8')
    const ragged = writeTinyModel(newDir(), { ...layerWise, ffn_dim_divisor: 20 })
    t.equal((await openCheckpoint(await roundTrip(ragged, 'q8_0'))).dtype, 'float32')
  },
)

t.test('a q4 checkpoint with rows that are no blocks: their q8 is rounded to F16', async t => {
  const config = { ...layerWise, ffn_dim_divisor: 20 }
  const [float, q4] = [writeTinyModel(newDir(), config), newDir()]
  await quantize(float, q4, { dtype: 'q4' })
  const back = await roundTrip(q4)
  t.equal((await openCheckpoint(back)).dtype, 'float32')

  const stored = readSafetensors(join(q4, 'model.safetensors'))
  const numbers = dequantizeCheckpoint(join(q4, 'model.safetensors'))
  const types = new Set<string>()
  for (const [name, { bytes }] of readSafetensors(join(back, 'model.safetensors'))) {
    const isRagged = tensorShapes(config).get(name)!.at(-1)! % 32 !== 0
    const values = numbers.get(name)!
    const expected = isRagged ? decodeFloats(encodeFloats(values, 'F16'), 'F16') : values
    t.same(decodeFloats(bytes, 'F32'), expected, name)
    types.add(`${stored.get(name)!.dtype}${isRagged ? ', ragged' : ''}`)
  }
  t.same([...types].sort(), ['F32', 'I8', 'I8, ragged', 'U8'])
})

t.test('norms that do not fit in the type of the matrices stay F32', async t => {
  const dir = writeTinyModel(newDir(), layerWise, 'F32')
  const back = await openCheckpoint(await roundTrip(dir, 'bf16'))
  t.equal(back.dtype, 'bfloat16')
  t.equal(back.tensors.get('transformer.norm.weight')!.dtype, 'F32')
})

const sample = 'Once upon a time, there was  a café\n(€ 3.50)\t"Don\'t go!" 龍 🐉 <s>'

t.test('openelm-nano and its byte-level tokenizer there and back', async t => {
  const nano = bundledModel('openelm-nano')!
  const back = await roundTrip(nano)
  sameTensors(t, back, nano)
  await sameShape(t, back, nano)
  await sameTokenizer(t, back, nano)
})

t.test("LLaMA's vocabulary needs no tokenizer.json", async t => {
  const dir = newDir()
  const config = { ...testConfigs['one-layer'], vocab_size: 32000, model_dim: 32, head_dim: 8 }
  writeTestCheckpoint(dir, config, { dtype: 'BF16', seed: 1 })
  const back = await roundTrip(dir)
  t.same(readdirSync(back).sort(), ['config.json', 'model.safetensors'])
  await sameTokenizer(t, back, dir)
})

t.test("LLaMA's vocabulary without a space in front needs one", async t => {
  const dir = newDir()
  const config = { ...testConfigs['one-layer'], vocab_size: 32000, model_dim: 32, head_dim: 8 }
  writeTestCheckpoint(dir, config, { dtype: 'BF16', seed: 1 })
  const file = join(newDir(), 'model.gguf')
  await checkpointToGguf(dir, file)
  const bytes = readFileSync(file)
  const key = 'tokenizer.ggml.add_space_prefix'
  bytes.writeUInt8(0, bytes.indexOf(key) + key.length + 4)
  writeFileSync(file, bytes)
  const back = join(newDir(), 'back')
  await ggufToCheckpoint(file, back)
  const load = async (dir: string) => loadTokenizer(dir, await readConfig(join(dir, 'config.json')))
  const [plain, prefixed] = [await load(back), await load(dir)]
  t.same(plain.encode(' Once upon'), prefixed.encode('Once upon'))
})

t.test('Metaspace, the newer form of such a tokenizer, there and back', async t => {
  const byte = (_: unknown, i: number) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`
  const control = ['<unk>', '<s>', '</s>']
  const pieces = [...control, ...Array.from({ length: 256 }, byte), '\u2581', 't', 'h', 'th']
  const words = [...pieces, '\u2581th', '\u2581\u2581', '<|user|>']
  const json = {
    added_tokens: [
      ...control.map((content, id) => ({ id, content, special: true })),
      { id: words.indexOf('<|user|>'), content: '<|user|>', special: false, normalized: false },
      { id: 300, content: '[PAD]', special: true },
    ],
    normalizer: null,
    decoder: { type: 'Metaspace', replacement: '\u2581' },
    model: {
      type: 'BPE',
      byte_fallback: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries(words.slice(0, -1).map((piece, id) => [piece, id])),
      merges: ['t h', '\u2581 th', '\u2581 \u2581'],
    },
  }
  const shape = { type: 'Metaspace', replacement: '\u2581' }
  const { '\u2581\u2581': _, ...withoutSpaces } = json.model.vocab
  const withoutPair = {
    ...json.model,
    vocab: withoutSpaces,
    merges: json.model.merges.slice(0, 2),
  }
  const forms: [object, boolean][] = [
    [{ pre_tokenizer: { ...shape, prepend_scheme: 'first', split: false } }, true],
    [{ pre_tokenizer: { ...shape, prepend_scheme: 'always', split: false } }, true],
    [{ pre_tokenizer: { ...shape, prepend_scheme: 'never', split: false } }, false],
    [{ pre_tokenizer: { ...shape, split: true }, model: withoutPair }, true],
    [{ pre_tokenizer: shape, model: withoutPair }, true],
  ]
  for (const [form, prepends] of forms) {
    const dir = writeTinyModel(newDir(), layerWise)
    writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify({ ...json, ...form }))
    const file = join(newDir(), 'model.gguf')
    await checkpointToGguf(dir, file)
    const { metadata } = await parseGguf(file, { allowLocalFile: true })
    t.match(metadata, { 'tokenizer.ggml.model': 'llama' })
    t.match(metadata, { 'tokenizer.ggml.add_space_prefix': prepends })
    const back = join(newDir(), 'back')
    await ggufToCheckpoint(file, back)
    await sameTokenizer(t, back, dir, 'the   thin \u00e9[PAD]<|user|>')
  }
})

async function sameTokenizer(
  t: Test,
  actual: string,
  expected: string,
  text = sample,
): Promise<void> {
  const load = async (dir: string) => loadTokenizer(dir, await readConfig(join(dir, 'config.json')))
  const [a, b] = [await load(actual), await load(expected)]
  const tokens = b.encode(text)
  t.same(a.encode(text), tokens)
  t.equal(a.decode(tokens), text)
}

t.test('a chat template goes along', async t => {
  const template = "{% for message in messages %}{{ message['content'] }} é{% endfor %}"
  const dir = writeTinyModel(newDir(), layerWise)
  t.notOk(existsSync(join(await roundTrip(dir, 'f16'), 'chat_template.jinja')))
  for (const [name, content] of [
    ['tokenizer_config.json', JSON.stringify({ chat_template: template })],
    ['chat_template.jinja', template],
  ] as const) {
    const from = writeTinyModel(newDir(), layerWise)
    writeFileSync(join(from, name), content)
    const back = await roundTrip(from, 'f16')
    t.equal(readFileSync(join(back, 'chat_template.jinja'), 'utf8'), template, name)
  }
})

t.test('what GGUF or llama.cpp cannot express', async t => {
  const file = join(newDir(), 'model.gguf')
  const refuses = async (dir: string, code: string, message: RegExp, dtype?: GgufDType) => {
    await t.rejects(checkpointToGguf(dir, file, { dtype }), { code, message })
    t.notOk(existsSync(file))
  }
  for (const [name, message] of [
    ['no-qk-norm', /layers differ/],
    ['plain-ffn', /no gate/],
    ['odder-widths', /output matrix/],
  ] as const) {
    const config = { ...testConfigs[name], vocab_size: 300 }
    await refuses(writeTinyModel(newDir(), config), 'NOT_CONVERTIBLE', message)
  }
  const dir = writeTinyModel(newDir(), layerWise)
  const json = JSON.parse(readFileSync(join(dir, 'tokenizer.json'), 'utf8'))
  const withTokenizer = (changes: object) =>
    writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify({ ...json, ...changes }))
  withTokenizer({ normalizer: { type: 'Lowercase' } })
  await refuses(dir, 'NOT_CONVERTIBLE', /Lowercase/)
  withTokenizer({ model: { ...json.model, byte_fallback: false } })
  await refuses(dir, 'NOT_CONVERTIBLE', /neither bytes nor byte tokens/)
  withTokenizer({ model: {} })
  await refuses(dir, 'INVALID_TOKENIZER', /model.vocab/)
  const metaspaces = ['\u2581', '\u2581\u2581']
  const vocab = { ...json.model.vocab, [metaspaces[0]!]: 259, [metaspaces[1]!]: 260 }
  withTokenizer({
    pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', split: true },
    model: { ...json.model, vocab, merges: ['\u2581 \u2581'] },
  })
  await refuses(dir, 'NOT_CONVERTIBLE', /Metaspace/)

  withTokenizer({})
  const q8 = await roundTrip(dir, 'q8_0')
  await refuses(q8, 'INVALID_ARGUMENT', /quantised already, as q8/, 'q4_0')
  writeFileSync(file, '')
  const again = checkpointToGguf(dir, file)
  await t.rejects(again, { code: 'IO_ERROR', message: /already exists/ })
})

t.test('an aborted conversion leaves no file', async t => {
  const dir = writeTinyModel(newDir(), layerWise)
  const out = newDir()
  const reason = new Error('enough')
  const abort = new AbortController()
  const file = join(out, 'model.gguf')
  await t.rejects(
    checkpointToGguf(dir, file, {
      dtype: 'f32',
      onProgress: () => abort.abort(reason),
      signal: abort.signal,
    }),
    reason,
  )
  t.same(readdirSync(out), [])
})
