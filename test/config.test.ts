import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  configToJson,
  countParameters,
  makeDivisible,
  parseConfig,
  presets,
  readConfig,
  tensorSpecs,
} from '../lib/config.js'

type Json = Record<string, unknown>

/** The config.json of a 3-layer model, changed; a key set to undefined is absent. */
function smallJson(changes: Json = {}): Json {
  const json = {
    model_type: 'openelm',
    vocab_size: 97,
    max_context_length: 64,
    num_transformer_layers: 3,
    model_dim: 128,
    head_dim: 32,
    num_gqa_groups: 2,
    qkv_multipliers: [0.5, 1.0],
    ffn_multipliers: [0.5, 4.0],
    ffn_dim_divisor: 32,
    normalize_qk_projections: true,
    share_input_output_layers: true,
    ...changes,
  }
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== undefined))
}

const parse = (changes?: Json) => parseConfig(smallJson(changes), 'config.json')

/** Writes [value, count] pairs out: runs([3, 2], [4, 1]) is [3, 3, 4]. */
const runs = (...pairs: [number, number][]) =>
  pairs.flatMap(([value, count]) => new Array<number>(count).fill(value))

// Apple's published config.json files, and for the FFN widths the sizes of the published weights.
const released = {
  '270M': {
    queryHeads: runs([12, 5], [16, 7], [20, 4]),
    ffnMultipliers: [
      0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0,
    ],
    ffnDims: [
      768, 1024, 1280, 1536, 1792, 2048, 2560, 2816, 3072, 3328, 3584, 3840, 4352, 4608, 4864, 5120,
    ],
    parameters: 271_527_168,
    tensors: 130,
  },
  '450M': {
    queryHeads: runs([12, 3], [16, 7], [20, 6], [24, 4]),
    ffnMultipliers: [
      0.5, 0.68, 0.87, 1.05, 1.24, 1.42, 1.61, 1.79, 1.97, 2.16, 2.34, 2.53, 2.71, 2.89, 3.08, 3.26,
      3.45, 3.63, 3.82, 4.0,
    ],
    ffnDims: [
      768, 1024, 1280, 1536, 1792, 2304, 2560, 2816, 3072, 3328, 3584, 3840, 4096, 4352, 4608, 5120,
      5376, 5632, 5888, 6144,
    ],
    parameters: 457_179_136,
    tensors: 162,
  },
  '1.1B': {
    queryHeads: runs([16, 3], [20, 7], [24, 8], [28, 6], [32, 4]),
    ffnMultipliers: [
      0.5, 0.63, 0.76, 0.89, 1.02, 1.15, 1.28, 1.41, 1.54, 1.67, 1.8, 1.93, 2.06, 2.19, 2.31, 2.44,
      2.57, 2.7, 2.83, 2.96, 3.09, 3.22, 3.35, 3.48, 3.61, 3.74, 3.87, 4.0,
    ],
    ffnDims: [
      1024, 1280, 1536, 1792, 2048, 2304, 2560, 2816, 3072, 3328, 3584, 3840, 4096, 4608, 4608,
      5120, 5376, 5632, 5888, 6144, 6400, 6656, 6912, 7168, 7424, 7680, 7936, 8192,
    ],
    parameters: 1_079_891_456,
    tensors: 226,
  },
  '3B': {
    queryHeads: runs([12, 4], [16, 14], [20, 12], [24, 6]),
    ffnMultipliers: Array.from({ length: 36 }, (_, layer) => (5 + layer) / 10),
    ffnDims: [
      1536, 1792, 2048, 2560, 2816, 3072, 3328, 3584, 4096, 4352, 4608, 4864, 5120, 5632, 5888,
      6144, 6400, 6656, 7168, 7424, 7680, 7936, 8192, 8704, 8960, 9216, 9472, 9728, 10240, 10496,
      10752, 11008, 11264, 11776, 12032, 12288,
    ],
    parameters: 3_036_647_424,
    tensors: 290,
  },
}

t.test('the presets are the released models', async t => {
  for (const [name, expected] of Object.entries(released)) {
    const config = presets[name as keyof typeof presets]
    t.same(config.numQueryHeads, expected.queryHeads, name)
    t.same(
      config.numKvHeads,
      expected.queryHeads.map(heads => heads / 4),
    )
    t.same(config.ffnDims, expected.ffnDims)
    t.same(configToJson(config, 'bfloat16').ffn_multipliers, expected.ffnMultipliers)
    t.equal(countParameters(config), expected.parameters)
    t.equal(tensorSpecs(config).length, expected.tensors)
  }
})

t.test('makeDivisible rounds to the nearest multiple, but loses less than 10%', async t => {
  const cases: [number, number, number][] = [
    [640, 256, 768],
    [934.4, 256, 1024],
    [4485.12, 256, 4608],
    [4730.88, 256, 4608],
    [857.6, 256, 1024],
    [1751.04, 512, 2048],
    [1720.32, 512, 2048],
    [100, 256, 256],
  ]
  for (const [value, divisor, expected] of cases) t.equal(makeDivisible(value, divisor), expected)
  t.equal(makeDivisible(100, 8, 200), 200)
  t.equal(makeDivisible(284.5, 256), 512, 'more than 10% below')
  t.equal(makeDivisible(284, 256), 256, 'less than 10% below')
})

t.test('what is written is read as the same shape, of two layers, too', async t => {
  for (const ffn_multipliers of [2.6667, [1, 2.5]]) {
    const config = parse({ num_transformer_layers: 2, ffn_multipliers, ffn_dim_divisor: 1 })
    t.same(parseConfig(configToJson(config, 'float32'), 'copy'), config)
  }
})

t.test('a range is rounded as NumPy rounds', async t => {
  const ffnMultipliers = (layers: number, first: number, last: number) =>
    configToJson(
      parse({ num_transformer_layers: layers, ffn_multipliers: [first, last] }),
      'float32',
    ).ffn_multipliers as number[]

  t.same(ffnMultipliers(5, 0.5, 1), [0.5, 0.62, 0.75, 0.88, 1], 'ties to even')
  // 0.525 and 0.925 lie above the tie, but 100 times them is 52.5 and 92.5 in float64.
  const fine = ffnMultipliers(21, 0.5, 1)
  t.same([fine[1], fine[17]], [0.52, 0.92])
  t.same(ffnMultipliers(1, 0.5, 4), [0.5], 'one layer is the first')
  t.same(ffnMultipliers(2, 0.125, 0.333), [0.12, 0.33], 'two layers are a range too')
})

t.test('multipliers can be a number, a range or a list', async t => {
  t.match(parse(), { numQueryHeads: [2, 4, 4], numKvHeads: [1, 2, 2], ffnDims: [64, 288, 512] })
  t.equal(countParameters(parse()), 468_160)
  const uniform = parse({ qkv_multipliers: 1, ffn_multipliers: 2.5 })
  t.match(uniform, { numQueryHeads: [4, 4, 4], ffnDims: [320, 320, 320], ffnMultipliers: 2.5 })
  const listed = parse({ qkv_multipliers: [1, 0.5, 2], ffn_multipliers: [1, 0.251, 3] })
  t.match(listed, { numQueryHeads: [4, 2, 8], numKvHeads: [2, 1, 4], ffnDims: [128, 32, 384] })
})

t.test('absent keys have the defaults of Apple', async t => {
  t.match(parse({ ffn_dim_divisor: undefined }), {
    ffnDimDivisor: 256,
    ffnWithGlu: true,
    activationFnName: 'swish',
    ropeFreqConstant: 10000,
    ropeMaxLength: 4096,
    rmsNormEps: 1e-6,
    initializerRange: 0.02,
    bosTokenId: 1,
    eosTokenId: 2,
  })
  t.equal(parse({ activation_fn_name: 'silu' }).activationFnName, 'swish')
  t.equal(parse({ hidden_size: 'unknown keys are ignored' }).modelDim, 128)
})

t.test('several tokens may end a text', async t => {
  t.match(parse({ eos_token_id: 3 }), { eosTokenId: 3, eosTokenIds: [3] })
  const config = parse({ eos_token_id: [3, 5] })
  t.match(config, { eosTokenId: 3, eosTokenIds: [3, 5] })
  t.match(configToJson(config, 'float32'), { eos_token_id: [3, 5] })
  t.match(configToJson(parse(), 'float32'), { eos_token_id: 2 })
})

t.test('the stored head counts must agree with the multipliers', async t => {
  const lists = { num_query_heads: [2, 4, 4], num_kv_heads: [1, 2, 2] }
  t.same(parse(lists), parse())
  t.throws(() => parse({ ...lists, num_query_heads: [2, 2, 4] }), {
    code: 'INVALID_CONFIG',
    message:
      'config.json: expected num_query_heads[1] to be 4, which follows from qkv_multipliers, received 2',
  })
  t.throws(() => parse({ ...lists, num_kv_heads: [1, 2, '2'] }), {
    message: /num_kv_heads\[2\] to be 2, .* received "2"$/,
  })
  t.throws(() => parse({ ...lists, num_kv_heads: [1, 2] }), {
    message: /num_kv_heads to be a list of 3, received an array of 2$/,
  })
  t.throws(() => parse({ ...lists, qkv_multipliers: undefined }), {
    message: /expected qkv_multipliers to be a number above 0 .* received undefined$/,
  })
})

t.test('a bad value names the file, the key, what was expected and what came', async t => {
  const cases: [string, unknown[]][] = [
    ['model_type', ['llama', null]],
    ['activation_fn_name', ['gelu', 1]],
    ['normalization_layer_name', ['layer_norm', null]],
    ['num_transformer_layers', [undefined, 0, 513, 1.5, '3', null, NaN, [3], 2n]],
    ['vocab_size', [undefined, 0, 2 ** 20 + 1, true]],
    ['max_context_length', [undefined, 0, 2 ** 20 + 1]],
    ['model_dim', [undefined, 0, -128, 65537, Infinity, { constructor: { name: {} } }]],
    ['head_dim', [undefined, 0, 3, 1026]],
    ['num_gqa_groups', [undefined, null, 0, 1025]],
    ['ffn_dim_divisor', [0, 65537]],
    ['ffn_with_glu', [1, 'true', null]],
    ['normalize_qk_projections', [undefined, 0]],
    ['share_input_output_layers', [undefined, 'false']],
    ['rope_freq_constant', [0, -1, Infinity, '10000']],
    ['rope_max_length', [0, 2 ** 20 + 1]],
    ['rms_norm_eps', [0, NaN]],
    ['initializer_range', [0, -0.02]],
    ['bos_token_id', [-1, 97, null]],
    ['eos_token_id', [97, -1, '2', [], [2, 97], [[2]]]],
    ['qkv_multipliers', [undefined, 0, 65, '1', [], [1], [1, 1, 1, 1], [0, 1], [1, 1, NaN]]],
    ['ffn_multipliers', [undefined, -1, Infinity, {}, [1, '1']]],
  ]
  for (const [key, values] of cases) {
    for (const value of values) {
      const message = new RegExp(`^a/config\\.json: expected ${key} to be .+, received .+$`)
      const error = { name: 'OpenELMError', code: 'INVALID_CONFIG', message }
      t.throws(() => parseConfig(smallJson({ [key]: value }), 'a/config.json'), error)
    }
  }
  for (const json of [null, undefined, [], 'openelm', 7]) {
    t.throws(() => parseConfig(json, 'a'), { code: 'INVALID_CONFIG', message: /to be an object/ })
  }
})

t.test('a prototype supplies no fields and is never changed', async t => {
  t.throws(() => parseConfig(Object.create(smallJson()), 'a'), { code: 'INVALID_CONFIG' })
  const json = JSON.parse(
    `{"__proto__": {"polluted": true}, ${JSON.stringify(smallJson()).slice(1)}`,
  )
  t.same(parseConfig(json, 'a'), parse())
  t.notOk('polluted' in {})
})

t.test('configToJson is what parseConfig reads', async t => {
  const unusual = parse({
    ffn_with_glu: false,
    normalize_qk_projections: false,
    share_input_output_layers: false,
    qkv_multipliers: 0.75,
    ffn_multipliers: [1, 2.5, 3],
    rms_norm_eps: 1e-5,
    rope_freq_constant: 500000,
    bos_token_id: 3,
    eos_token_id: 4,
  })
  t.same(parseConfig(configToJson(unusual, 'float32'), 'a'), unusual)
  t.same(
    parseConfig(configToJson(presets['270M'], 'bfloat16'), 'a'),
    { ...presets['270M'], ffnMultipliers: released['270M'].ffnMultipliers },
    'a range comes back as its list',
  )
  t.match(configToJson(presets['1.1B'], 'bfloat16'), {
    architectures: ['OpenELMForCausalLM'],
    model_type: 'openelm',
    torch_dtype: 'bfloat16',
    num_transformer_layers: 28,
    qkv_multipliers: [0.5, 1],
  })
  t.notOk('rms_norm_eps' in configToJson(presets['3B'], 'float32'))
})

t.test('tensorSpecs lists every weight with its shape', async t => {
  const shapes = (changes?: Json) =>
    Object.fromEntries(tensorSpecs(parse(changes)).map(({ name, shape }) => [name, shape]))

  const specs = tensorSpecs(parse())
  t.equal(specs.length, 8 * 3 + 2)
  t.same(specs[0], {
    name: 'transformer.token_embeddings.weight',
    shape: [97, 128],
    kind: 'matrix',
  })
  t.same(
    specs.slice(9, 17).map(({ name, shape, kind }) => [name, shape, kind]),
    [
      ['transformer.layers.1.attn_norm.weight', [128], 'norm'],
      ['transformer.layers.1.attn.qkv_proj.weight', [256, 128], 'matrix'],
      ['transformer.layers.1.attn.q_norm.weight', [32], 'norm'],
      ['transformer.layers.1.attn.k_norm.weight', [32], 'norm'],
      ['transformer.layers.1.attn.out_proj.weight', [128, 128], 'matrix'],
      ['transformer.layers.1.ffn_norm.weight', [128], 'norm'],
      ['transformer.layers.1.ffn.proj_1.weight', [576, 128], 'matrix'],
      ['transformer.layers.1.ffn.proj_2.weight', [128, 288], 'matrix'],
    ],
  )
  t.match(specs.at(-1), { name: 'transformer.norm.weight', shape: [128], kind: 'norm' })

  t.same(shapes({ ffn_with_glu: false })['transformer.layers.1.ffn.proj_1.weight'], [288, 128])
  t.equal(tensorSpecs(parse({ normalize_qk_projections: false })).length, 6 * 3 + 2)
  const untied = tensorSpecs(parse({ share_input_output_layers: false }))
  t.same(untied.at(-1), { name: 'lm_head.weight', shape: [97, 128], kind: 'matrix' })
})

t.test('readConfig reads one strict JSON object', async t => {
  const file = join(t.testdir(), 'config.json')
  const read = (content: string | Buffer) => {
    writeFileSync(file, content)
    return readConfig(file)
  }
  const json = JSON.stringify(smallJson())
  t.same(await read(` ${json}\n`), parse())

  const broken: [string, string | Buffer, RegExp][] = [
    ['empty', '', /malformed JSON: expected a value at character 0/],
    ['an array', '[]', /expected a JSON object, received an array of 0/],
    ['equal keys', `{"vocab_size": 97,${json.slice(1)}`, /the key "vocab_size" appears twice/],
    ['equal keys, escaped', `{"\\u0076ocab_size": 97,${json.slice(1)}`, /appears twice/],
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /invalid UTF-8/],
    ['NaN', '{"model_dim": NaN}', /expected a value/],
    ['too many bytes', json + ' '.repeat(1e6), /expected at most 1000000 bytes/],
  ]
  for (const [what, content, reason] of broken) {
    const error = await read(content).catch(error => error)
    t.match(error, { code: 'INVALID_CONFIG', message: reason }, what)
    t.ok(error.message.startsWith(`${file}: `), error.message)
  }
  await t.rejects(readConfig(join(file, 'nowhere')), { code: 'IO_ERROR', message: /nowhere/ })
  await t.rejects(readConfig(t.testdir()), { code: 'IO_ERROR', message: /not a regular file/ })
})

t.test('a checkpoint that another tool has quantised is named as such', async t => {
  const json = configToJson(presets['270M'], 'float16')
  const rows: [object, string][] = [
    [{ quantization: { group_size: 64, bits: 4 } }, 'MLX'],
    [{ quantization_config: { quant_method: 'gptq', bits: 4 } }, 'gptq'],
    [{ quantization_config: { bits: 4 } }, 'another tool'],
  ]
  for (const [keys, tool] of rows) {
    t.throws(() => parseConfig({ ...json, ...keys }, 'config.json'), {
      code: 'INVALID_CONFIG',
      message: `config.json: it was quantised by ${tool}; take the original and quantise it with openelm quantize`,
    })
  }
})
