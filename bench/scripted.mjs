// Checkpoints of any shape with random weights that follow a script: which token comes after which. So two
// models of different sizes agree as often as is wanted, at the price that real ones have.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { presets } from '../dist/config.js'
import { randomWeights } from '../dist/random-weights.js'
import { embeddingsName, headName } from '../dist/tensor-headers.js'
import { writeCheckpoint } from '../dist/write-checkpoint.js'

const { vocabSize } = presets['270M']
const period = 64

/** A token from which a text repeats itself after so many tokens, and one from which it does not. */
export const starts = { repeating: 3, other: 3 + period }
export { period }

/** What comes after each token: tokens from the first on in a small circle, the others in a large one. */
export function makeScript() {
  const script = Array.from({ length: vocabSize }, (_, token) => token)
  const join = tokens => {
    for (const [i, token] of tokens.entries()) script[token] = tokens[(i + 1) % tokens.length]
  }
  join(script.slice(starts.repeating, starts.other))
  join(shuffled(script.slice(starts.other), 1))
  return script
}

/** The same, but for a share of the tokens, which are followed by others. */
export function wrongScript(script, right) {
  const tokens = shuffled(Array.from(script.keys()), 2)
  const wrong = tokens.slice(Math.round(right * tokens.length))
  const result = [...script]
  for (const [i, token] of wrong.entries()) result[token] = script[wrong[(i + 1) % wrong.length]]
  return result
}

/**
 * Writes a bfloat16 checkpoint of a released shape, unless it is there. Its embeddings are so large that
 * the layers change them little, and the output matrix has each embedding at the token that comes next.
 */
export async function prepareScripted(folder, size, name, script) {
  const directory = join(folder, `scripted-${size}-${name}`)
  if (existsSync(join(directory, 'config.json'))) return directory
  process.stderr.write(`writing ${directory}\n`)
  const config = { ...presets[size], shareInputOutputLayers: false }
  const { modelDim } = config
  const random = randomWeights(config, 1n)
  const embeddings = new Uint16Array(vocabSize * modelDim)
  await writeCheckpoint(directory, config, 'bfloat16', header => {
    if (header.name === embeddingsName) return enlarged(header)
    if (header.name === headName) return permuted()
    return random(header)
  })
  return directory

  async function* enlarged(header) {
    let at = 0
    for await (const bytes of random(header)) {
      const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)
      embeddings.set(values, at)
      at += values.length
      yield asBytes(values.map(value => (value & 0x7f80 ? value + (12 << 7) : value))) // times 2 ** 12
    }
  }

  function* permuted() {
    const before = new Int32Array(vocabSize)
    for (const [token, next] of script.entries()) before[next] = token
    for (const token of before) {
      yield asBytes(embeddings.slice(token * modelDim, (token + 1) * modelDim))
    }
  }
}

const asBytes = values => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** In an order that looks random, another for each seed. */
function shuffled(tokens, seed) {
  const key = token =>
    Math.imul(Math.imul(token + 1, 0x9e37_79b1) ^ (token >>> 3), 2 * seed + 0x85eb_ca6b)
  return tokens.toSorted((a, b) => (key(a) >>> 0) - (key(b) >>> 0))
}
