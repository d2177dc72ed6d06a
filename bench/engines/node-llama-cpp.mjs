import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

const depthTokens = 32

/** llama.cpp on the CPU, with the binaries that come from npm. */
export function openLlama(threads) {
  return getLlama({
    gpu: false,
    build: 'never',
    maxThreads: threads,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
  })
}

export async function loadGguf(llama, { file, threads, contextSize, ...options }) {
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 })
  const context = await model.createContext({ contextSize, threads, ...options })
  return { model, sequence: context.getSequence() }
}

/** The same measurements as lib/bench.ts, with the same tokens. */
export async function speed({ model: { file, vocabSize }, threads, plan }) {
  const llama = await openLlama(threads)
  const start = performance.now()
  const { prompts, generated, depths, repetitions } = plan
  const contextSize = Math.max(...prompts, generated + 16, ...depths.map(depth => depth + 64))
  const { sequence } = await loadGguf(llama, { file, threads, contextSize })
  const loadMs = performance.now() - start

  const tests = []
  const arbitraryTokens = length =>
    Array.from({ length }, (_, i) => 3 + ((i * 7919) % (vocabSize - 3)))
  if (prompts.length > 0) await prefill(sequence, arbitraryTokens(prompts[0]))
  for (const length of prompts) {
    const tokens = arbitraryTokens(length)
    const times = await repeat(repetitions, () => prefill(sequence, tokens))
    tests.push({ name: `pp${length}`, tokensPerSecond: times.map(ms => (1000 * length) / ms) })
  }
  if (generated > 0) {
    await generate(sequence, arbitraryTokens(1), 8)
    const runs = await repeat(repetitions, () => generate(sequence, arbitraryTokens(1), generated))
    tests.push({
      name: `tg${generated}`,
      tokensPerSecond: runs.map(({ ms }) => (1000 * generated) / ms),
      tokenMs: runs.flatMap(({ tokenMs }) => tokenMs),
    })
  }
  for (const depth of depths) {
    const runs = await repeat(repetitions, () =>
      generate(sequence, arbitraryTokens(depth), depthTokens + 1),
    )
    tests.push({
      name: `tg${depthTokens}@d${depth}`,
      tokensPerSecond: runs.map(({ decodeMs }) => (1000 * depthTokens) / decodeMs),
    })
  }
  return { loadMs, tests, peakMemory: process.resourceUsage().maxRSS * 1024 }
}

/** When the first token of an answer is there, in milliseconds from the start of the process. */
export async function firstToken({ model: { file }, threads, prompt }) {
  const llama = await openLlama(threads)
  const { model, sequence } = await loadGguf(llama, { file, threads, contextSize: 512 })
  const tokens = [model.tokens.bos, ...model.tokenize(prompt)]
  for await (const _ of sequence.evaluate(tokens, { temperature: 0 })) break
  return performance.now()
}

async function prefill(sequence, tokens) {
  await sequence.clearHistory()
  const start = performance.now()
  await sequence.evaluateWithoutGeneratingNewTokens(tokens)
  return performance.now() - start
}

async function generate(sequence, prompt, count) {
  await sequence.clearHistory()
  const start = performance.now()
  const at = []
  for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    at.push(performance.now())
    if (at.length === count) break
  }
  if (at.length < count) throw new Error(`the text ended after ${at.length} tokens`)
  const tokenMs = at.slice(1).map((time, i) => time - at[i])
  return { ms: at.at(-1) - start, decodeMs: at.at(-1) - at[0], tokenMs }
}

async function repeat(times, work) {
  const results = []
  for (let i = 0; i < times; i++) results.push(await work())
  return results
}
