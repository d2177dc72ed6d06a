import { contextLengthFor, measureSpeed } from '../../dist/cli/measure-speed.js'
import { OpenELM } from '../../dist/index.js'
import { loadNative } from '../../dist/native.js'

/** Loads, prefills and decodes, as `openelm bench` does. */
export async function speed({ model, threads, plan }) {
  const start = performance.now()
  const contextLength = contextLengthFor(plan)
  const options = { backend: 'cpu', threads, contextLength }
  const engine = await OpenELM.load(model.directory, options)
  const loadMs = performance.now() - start
  const tests = await measureSpeed(engine, plan)
  return { loadMs, tests, peakMemory: process.resourceUsage().maxRSS * 1024 }
}

/** When the first token of an answer is there, in milliseconds from the start of the process. */
export async function firstToken({ model, threads, prompt }) {
  const engine = await OpenELM.load(model.directory, { backend: 'cpu', threads })
  for await (const _ of engine.stream(prompt, { maxTokens: 1 })) break
  return performance.now()
}

export function machine({ threads }) {
  return loadNative().measureMachine(threads)
}
