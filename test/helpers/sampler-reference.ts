import type { NativeSamplerOptions } from '../../lib/native-session.js'

/**
 * The probability of each token, in float64 and straight from the definitions: bias, penalties,
 * temperature, top-k, top-p, min-p, in this order. At temperature 0 all of it is on one token.
 *
 * @param accepted the prompt; `generated` comes after it.
 */
export function referenceDistribution(
  logits: Float32Array,
  options: NativeSamplerOptions,
  accepted: readonly number[] = [],
  generated: readonly number[] = [],
): number[] {
  const scores = penalized(logits, options, accepted, generated)
  // Array.prototype.sort is stable, so that equal scores stay in the order of their ids.
  const ranked = [...scores.keys()]
    .filter(id => Number.isFinite(scores[id]))
    .sort((a, b) => scores[b]! - scores[a]!)
  const probabilities = new Array<number>(logits.length).fill(0)
  if (options.temperature === 0) {
    probabilities[ranked[0]!] = 1
    return probabilities
  }

  const topK = options.topK > 0 ? ranked.slice(0, options.topK) : ranked
  const best = scores[topK[0]!]!
  const weight = (id: number) => Math.exp((scores[id]! - best) / options.temperature)
  const sum = (ids: number[]) => ids.reduce((total, id) => total + weight(id), 0)

  const needed = options.topP * sum(topK)
  let mass = 0
  const topP = topK.filter(id => {
    const isNeeded = options.topP === 1 || mass < needed
    mass += weight(id)
    return isNeeded
  })

  const kept = topP.filter(id => weight(id) >= options.minP)
  const total = sum(kept)
  for (const id of kept) probabilities[id] = weight(id) / total
  return probabilities
}

function penalized(
  logits: Float32Array,
  options: NativeSamplerOptions,
  accepted: readonly number[],
  generated: readonly number[],
): number[] {
  const text = [...accepted, ...generated]
  const window = new Set(text.slice(Math.max(0, text.length - options.repetitionContextSize)))
  return Array.from(logits, (logit, id) => {
    let score = logit
    for (const [i, token] of options.biasedTokens.entries()) {
      if (token === id) score += options.biases[i]!
    }
    if (window.has(id)) {
      score = score > 0 ? score / options.repetitionPenalty : score * options.repetitionPenalty
    }
    const count = generated.filter(token => token === id).length
    return score - count * options.frequencyPenalty - (count > 0 ? options.presencePenalty : 0)
  })
}

/** The natural logarithm of the softmax. */
export function logSoftmax(logits: Float32Array): number[] {
  const best = Math.max(...logits)
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - best), 0)
  return Array.from(logits, logit => logit - best - Math.log(total))
}

/**
 * How likely draws from the distribution are to fit it no better than these counts do, by Pearson's
 * test. Tokens that are expected less than five times share a bin.
 */
export function pearsonPValue(counts: readonly number[], probabilities: readonly number[]): number {
  const draws = counts.reduce((sum, count) => sum + count, 0)
  let statistic = 0
  let bins = 0
  const addBin = (observed: number, expected: number) => {
    statistic += (observed - expected) ** 2 / expected
    bins += 1
  }
  let rareObserved = 0
  let rareExpected = 0
  for (const [id, probability] of probabilities.entries()) {
    const expected = draws * probability
    if (expected >= 5) {
      addBin(counts[id]!, expected)
    } else {
      rareObserved += counts[id]!
      rareExpected += expected
    }
  }
  if (rareExpected > 0) addBin(rareObserved, rareExpected)
  return bins === 1 ? 1 : chiSquaredSurvival(statistic, bins - 1)
}

/** P(X > x) for X of the chi-squared distribution: 1 - P(degrees / 2, x / 2), incomplete gamma. */
export function chiSquaredSurvival(x: number, degrees: number): number {
  const a = degrees / 2
  const z = x / 2
  if (z === 0) return 1
  // P(a, z) = z^a e^-z / Γ(a + 1) * (1 + z / (a + 1) + z^2 / ((a + 1) (a + 2)) + ...)
  let term = 1
  let series = 1
  for (let n = 1; term > series * 1e-16; n++) {
    term *= z / (a + n)
    series += term
  }
  return 1 - Math.exp(a * Math.log(z) - z - logGamma(a + 1) + Math.log(series))
}

/** ln Γ of a positive multiple of 1/2, up from Γ(1) = 1 or Γ(1/2) = √π. */
function logGamma(a: number): number {
  const start = Number.isInteger(a) ? 1 : 0.5
  let result = start === 1 ? 0 : Math.log(Math.PI) / 2
  for (let x = start; x < a; x++) result += Math.log(x)
  return result
}
