import { writeFileSync } from 'node:fs'
import { loadGguf, openLlama } from './node-llama-cpp.mjs'

/** Writes the log-probabilities after each token of each sequence, [tokens, vocabulary] in float32. */
export async function logProbabilities({ file, sequences, vocabSize, output }) {
  const llama = await openLlama(1)
  const contextSize = Math.max(...sequences.map(tokens => tokens.length)) + 8
  // Nothing but the weights and what they are multiplied with is to round.
  const exact = {
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  }
  const { sequence } = await loadGguf(llama, { file, threads: 1, contextSize, ...exact })
  const options = { temperature: 1, topK: 0, topP: 1, minP: 0 }
  const rows = []
  for (const tokens of sequences) {
    await sequence.clearHistory()
    const generateNext = { probabilities: true, options }
    const outputs = await sequence.controlledEvaluate(
      tokens.map(token => [token, { generateNext }]),
    )
    for (const { next } of outputs) {
      const row = new Float32Array(vocabSize)
      for (const [token, probability] of next.probabilities) row[token] = Math.log(probability)
      rows.push(row)
    }
  }
  const all = new Float32Array(rows.length * vocabSize)
  for (const [i, row] of rows.entries()) all.set(row, i * vocabSize)
  writeFileSync(output, all)
  return rows.length
}

/** What greedy decoding gives after the tokens. */
export async function greedy({ file, tokens, count, text }) {
  const llama = await openLlama(1)
  const { model, sequence } = await loadGguf(llama, { file, threads: 1, contextSize: 256 })
  const result = []
  for await (const token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    result.push(token)
    if (result.length === count) break
  }
  return { tokens: result, encoded: text === undefined ? [] : model.tokenize(text) }
}
