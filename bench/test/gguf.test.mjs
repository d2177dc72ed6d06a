// GGUF files that `openelm convert` wrote, in node-llama-cpp, against the oracle of openelm's tests.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { OpenELM } from '../../dist/index.js'
import { greedy } from '../engines/node-llama-cpp-quality.mjs'
import { run } from '../models.mjs'
import { oracleGreedy } from './oracle.mjs'

const besideTheRepository = fileURLToPath(
  new URL('../../../shared/models/stories260K', import.meta.url),
)
const stories =
  process.env.OPENELM_TEST_MODEL ||
  (existsSync(besideTheRepository) ? besideTheRepository : undefined)
const skip = stories === undefined && 'needs stories260K, where OPENELM_TEST_MODEL says'

const scratch = mkdtempSync(join(tmpdir(), 'openelm-gguf-'))
after(() => rmSync(scratch, { recursive: true }))

async function runsAlike(name, directory, tokens, count) {
  const file = join(scratch, `${name}.gguf`)
  run('convert', directory, file, '--dtype', 'f32')
  const expected = await oracleGreedy(directory, tokens, count)
  const { tokens: received } = await greedy({ file, tokens, count })
  assert.deepEqual(received, expected)
}

test('stories260K gives the greedy tokens of the oracle', { skip }, async () => {
  await runsAlike('stories', stories, [1, 403, 407, 261, 378], 64)
})

test('so does a layer-wise scaled model with norms of queries and keys', async () => {
  const directory = join(scratch, 'layer-wise')
  const config = {
    vocab_size: 300,
    max_context_length: 128,
    num_transformer_layers: 4,
    model_dim: 128,
    head_dim: 32,
    num_gqa_groups: 2,
    qkv_multipliers: [0.5, 1],
    ffn_multipliers: [0.5, 4],
    ffn_dim_divisor: 32,
    normalize_qk_projections: true,
    share_input_output_layers: true,
  }
  const json = join(scratch, 'config.json')
  writeFileSync(json, JSON.stringify(config))
  run('init', '--config', json, '--dtype', 'float32', '--seed', '5', directory)
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  await runsAlike('layer-wise', directory, [1, 68, 111, 104], 64)
})

test('llama.cpp encodes text as openelm does', { skip }, async () => {
  const text = readFileSync(
    new URL('../../test/data/northanger-abbey.txt', import.meta.url),
    'utf8',
  )
  for (const directory of [stories, 'openelm-nano']) {
    const model = await OpenELM.load(directory, { backend: 'cpu' })
    const file = join(scratch, `tokenizer-${model.config.vocabSize}.gguf`)
    run('convert', directory, file)
    const { encoded } = await greedy({ file, tokens: [1], count: 1, text })
    assert.deepEqual(encoded, model.tokenizer.encode(text, { addBos: false }))
    await model.dispose()
  }
})

/** A token for each byte. */
function byteTokenizer() {
  const bytes = Array.from({ length: 256 }, (_, i) => {
    return `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`
  })
  const control = ['<unk>', '<s>', '</s>']
  return {
    added_tokens: control.map((content, id) => ({ id, content, special: true })),
    decoder: { type: 'ByteFallback' },
    model: {
      type: 'BPE',
      byte_fallback: true,
      vocab: Object.fromEntries([...control, ...bytes].map((piece, id) => [piece, id])),
      merges: [],
    },
  }
}
