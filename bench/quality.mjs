// What the quantised formats cost: logits of openelm's q8 and q4 and of llama.cpp's q8_0 and q4_0
// against float32, for the same weights and the same text.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openCheckpoint, writeCheckpoint } from '../dist/checkpoint.js'
import { countParameters } from '../dist/config.js'
import { encodeBlocks, splitBlocks } from '../dist/convert/gguf/blocks.js'
import { checkpointToGguf } from '../dist/convert/gguf/checkpoint-to-gguf.js'
import { ggufToCheckpoint } from '../dist/convert/gguf/gguf-to-checkpoint.js'
import { matrixShape } from '../dist/convert/gguf/layout.js'
import { openGguf } from '../dist/convert/gguf/open-gguf.js'
import { rowBytes } from '../dist/convert/gguf/types.js'
import { OpenELM } from '../dist/index.js'
import { readFloat32 } from '../dist/read-float32.js'
import { run } from './models.mjs'
import { runCase } from './run-case.mjs'

const heldOut = fileURLToPath(new URL('../test/data/stories.jsonl', import.meta.url))
const windowLength = 256

/** @param stories the directory of stories260K, if it is to be measured. */
export async function measureQuality(stories) {
  const results = []
  const scratch = mkdtempSync(join(tmpdir(), 'openelm-quality-'))
  try {
    if (stories) {
      const directory = stories
      const text = '16 stories of up to 256 tokens that the float32 model tells, at temperature 1'
      results.push(await compareFormats('stories260K', directory, text, tellStories, scratch))
    }
    const text = 'stories.jsonl of the tests'
    results.push(await compareFormats('openelm-nano', 'openelm-nano', text, readStories, scratch))
  } finally {
    rmSync(scratch, { recursive: true })
  }
  return results
}

async function tellStories(model) {
  const stories = []
  for (let seed = 0; seed < 16; seed++) {
    const options = { temperature: 1, seed, maxTokens: windowLength - 1 }
    const { tokens } = await model.generate([model.tokenizer.bosTokenId], options)
    stories.push([model.tokenizer.bosTokenId, ...tokens])
  }
  return stories
}

async function readStories({ tokenizer }) {
  const lines = readFileSync(heldOut, 'utf8').trim().split('\n')
  return lines.map(line => tokenizer.encode(JSON.parse(line).text).slice(0, windowLength))
}

async function compareFormats(name, directory, text, sequencesOf, scratch) {
  const reference = await OpenELM.load(directory, { backend: 'cpu', dtype: 'float32' })
  const sequences = await sequencesOf(reference)
  await reference.dispose()
  const expected = await logitsOf(directory, 'float32', sequences)
  const checkpoint = await openCheckpoint(directory)
  const { vocabSize } = checkpoint.config
  const parameters = countParameters(checkpoint.config)
  const rows = []
  const add = (engine, format, bytes, logits) => {
    const measured = compareLogits(logits, expected, sequences, vocabSize)
    rows.push({ engine, format, bitsPerWeight: (8 * bytes) / parameters, ...measured })
    process.stderr.write(`${name}: ${engine} ${format} ${JSON.stringify(measured)}\n`)
  }
  add('openelm', 'float32', 4 * parameters, expected)
  for (const dtype of ['q8', 'q4']) {
    const logits = await logitsOf(directory, dtype, sequences)
    const quantised = join(scratch, `${name}-${dtype}`)
    run('quantize', '--dtype', dtype, directory, quantised)
    add('openelm', dtype, (await openCheckpoint(quantised)).byteLength, logits)
    const exact = await logitsOfWeights(quantised, `${quantised}-exact`, sequences)
    add('openelm, weights alone', dtype, (await openCheckpoint(quantised)).byteLength, exact)
  }
  for (const [dtype, type] of [
    ['q8', 'Q8_0'],
    ['q4', 'Q4_0'],
  ]) {
    const rounded = join(scratch, `${name}-${type}`)
    await roundAsLlama(checkpoint, rounded, dtype)
    const exact = await logitsOfWeights(rounded, `${rounded}-exact`, sequences)
    const bytes = (await openCheckpoint(rounded)).byteLength
    add("llama.cpp's rounding of all matrices", type.toLowerCase(), bytes, exact)
  }
  for (const dtype of ['f32', 'q8_0', 'q4_0']) {
    const file = join(scratch, `${name}-${dtype}.gguf`)
    await checkpointToGguf(checkpoint.directory, file, { dtype })
    const bytes = await ggufBytes(file)
    const output = join(scratch, 'logits')
    const spec = { file, sequences, vocabSize, output }
    await runCase([], 'node-llama-cpp-quality', 'logProbabilities', spec)
    const { buffer, byteOffset, length } = readFileSync(output)
    add('node-llama-cpp', dtype, bytes, new Float32Array(buffer, byteOffset, length / 4))
    if (dtype === 'f32') continue
    const back = `${file}-back`
    await ggufToCheckpoint(file, back)
    add(
      'llama.cpp, weights alone',
      dtype,
      bytes,
      await logitsOfWeights(back, `${back}-exact`, sequences),
    )
  }
  const tokens = sequences.reduce((sum, sequence) => sum + sequence.length, 0)
  return { name, text, tokens, rows }
}

async function logitsOf(directory, dtype, sequences) {
  const model = await OpenELM.load(directory, { backend: 'cpu', dtype })
  const { vocabSize } = model.config
  const all = new Float32Array(sequences.flat().length * vocabSize)
  let at = 0
  for (const tokens of sequences) {
    const logits = await model.logits(tokens)
    all.set(logits, at)
    at += logits.length
  }
  await model.dispose()
  return all
}

/** A q8 or q4 checkpoint of numbers as llama.cpp rounds them, rows that it would leave in F16 too. */
async function roundAsLlama({ directory, config, tensors }, out, dtype) {
  let scales
  await writeCheckpoint(out, config, dtype, async function* ({ name, dtype, shape }) {
    const tensor = tensors.get(name)
    if (tensor === undefined) return yield scales
    const values = await readFloat32(tensor)
    if (shape.length === 1) return yield new Uint8Array(values.buffer)
    const [rows, columns] = tensor.shape
    const padded = new Float32Array(rows * Math.ceil(columns / 32) * 32)
    for (let row = 0; row < rows; row++) {
      const from = values.subarray(row * columns, (row + 1) * columns)
      padded.set(from, (row * padded.length) / rows)
    }
    const type = dtype === 'I8' ? 'Q8_0' : 'Q4_0'
    const split = splitBlocks(encodeBlocks(padded, type), type)
    scales = split.scales
    yield split.values
  })
  await copyFile(join(directory, 'tokenizer.json'), join(out, 'tokenizer.json'))
}

/** The logits of quantised weights in float32 arithmetic. */
async function logitsOfWeights(directory, exact, sequences) {
  await checkpointToGguf(directory, `${exact}.gguf`, { dtype: 'f32' })
  await ggufToCheckpoint(`${exact}.gguf`, exact)
  return await logitsOf(exact, 'float32', sequences)
}

/** Means over all tokens: of the distance of centred logits, and of KL divergence in nats. */
function compareLogits(actual, expected, sequences, vocabSize) {
  let difference = 0
  let norm = 0
  let divergence = 0
  let loss = 0
  let targets = 0
  let row = 0
  for (const tokens of sequences) {
    for (let i = 0; i < tokens.length; i++, row++) {
      const [p, q] = [expected, actual].map(logits =>
        logSoftmax(logits.subarray(row * vocabSize, (row + 1) * vocabSize)),
      )
      const [meanP, meanQ] = [p, q].map(values => values.reduce((sum, x) => sum + x, 0) / vocabSize)
      for (let j = 0; j < vocabSize; j++) {
        difference += (q[j] - meanQ - (p[j] - meanP)) ** 2
        norm += (p[j] - meanP) ** 2
        divergence += Math.exp(p[j]) * (p[j] - q[j])
      }
      if (i + 1 < tokens.length) {
        loss -= q[tokens[i + 1]]
        targets++
      }
    }
  }
  return {
    relativeError: Math.sqrt(difference / norm),
    divergence: divergence / row,
    perplexity: Math.exp(loss / targets),
  }
}

function logSoftmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b))
  const sum = logits.reduce((total, x) => total + Math.exp(x - largest), 0)
  return Float64Array.from(logits, x => x - largest - Math.log(sum))
}

async function ggufBytes(file) {
  const { tensors } = await openGguf(file)
  return tensors.reduce((sum, { shape, type }) => {
    const [rows, columns] = matrixShape(shape)
    return sum + rows * rowBytes(columns, type)
  }, 0)
}
