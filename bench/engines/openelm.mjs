import { bench } from '../../dist/bench.js'
import { OpenELM } from '../../dist/index.js'
import { loadNative } from '../../dist/native.js'

/** Loads, prefills and decodes: see lib/bench.ts. */
export function speed({ model, threads, plan }) {
  return bench(model.directory, { backend: 'cpu', threads }, plan)
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
