import t from 'tap'
import { type GenerateOptions, OpenELM } from '../lib/index.js'
import { readSamplerOptions } from '../lib/sampler-options.js'
import { testBackend, volume } from './helpers/backend.js'
import { pearsonPValue, referenceDistribution } from './helpers/sampler-reference.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const directory = writeTinyModel(t.testdir())
const load = () => OpenELM.load(directory, { backend: testBackend })
const model = await load()
const draftModel = await load()
t.teardown(() => Promise.all([model.dispose(), draftModel.dispose()]))
const { vocabSize } = model.config
const prompt = [5, 9, 14, 9, 14]
const generations = volume(120, 4)
const maxTokens = 30
const numBins = 8

const samplers: GenerateOptions[] = [
  { temperature: 1.6 },
  { temperature: 2, topK: 12 },
  { temperature: 2.2, topP: 0.9, minP: 0.02 },
  { temperature: 1.2, repetitionPenalty: 1.2, presencePenalty: 0.3, frequencyPenalty: 0.2 },
]
const drafters: GenerateOptions[] = [{ draftModel }, { promptLookup: true }]

/** A number in [0, 1) for each index, as good as random. */
function uniform(index: number): number {
  let x = Math.imul(index + 1, 0x9e37_79b1)
  x = Math.imul(x ^ (x >>> 15), 0x85eb_ca77)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae3d)
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32
}

/**
 * Where a token lies when all stand side by side, each as wide as it is probable, the likeliest first: at
 * a random place within its own width. For draws from the distribution this is uniform in [0, 1).
 */
function placeOf(token: number, probabilities: readonly number[], random: number): number {
  const own = probabilities[token]!
  let before = 0
  for (const [id, probability] of probabilities.entries()) {
    if (probability > own || (probability === own && id < token)) before += probability
  }
  return Math.min(before + random * own, 1 - Number.EPSILON)
}

/** The p-value of places that should be uniform. */
function pValue(places: readonly number[]): number {
  const counts = new Array<number>(numBins).fill(0)
  for (const place of places) counts[Math.floor(place * numBins)]! += 1
  return pearsonPValue(counts, new Array<number>(numBins).fill(1 / numBins))
}

/** The places of all tokens of many generations, and of what they would be with some tokens replaced. */
async function measure(sampling: GenerateOptions) {
  const native = readSamplerOptions(sampling, vocabSize)
  const places: number[] = []
  const biased: number[] = []
  let accepted = 0
  for (let seed = 0; seed < generations; seed++) {
    const drafting = drafters[seed % drafters.length]
    const options = { maxTokens, ignoreEos: true, seed, ...sampling, ...drafting }
    const { tokens, usage } = await model.generate(prompt, options)
    accepted += usage.acceptedDraftTokens ?? 0
    const logits = await model.logits([...prompt, ...tokens.slice(0, -1)])
    for (const [i, token] of tokens.entries()) {
      const row = (prompt.length - 1 + i) * vocabSize
      const probabilities = referenceDistribution(
        logits.subarray(row, row + vocabSize),
        native,
        prompt,
        tokens.slice(0, i),
      )
      const random = uniform(places.length)
      places.push(placeOf(token, probabilities, random))
      const likeliest = probabilities.indexOf(Math.max(...probabilities))
      const other = uniform(-places.length) < 0.15 ? likeliest : token
      biased.push(placeOf(other, probabilities, random))
    }
  }
  return { places, biased, accepted }
}

for (const sampling of samplers) {
  t.test(`draws have the exact distribution: ${JSON.stringify(sampling)}`, async t => {
    const { places, biased, accepted } = await measure(sampling)
    t.ok(accepted > places.length / 20, `${accepted} of ${places.length} tokens were guessed`)
    const p = pValue(places)
    t.ok(p > 0.001, `p = ${p.toFixed(4)}`)
    // Had 15 tokens of 100 been replaced by the likeliest, it would show.
    if (places.length > 1000) t.ok(pValue(biased) < 0.001, 'a bias is noticed')
  })
}
