import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { openCheckpoint } from '../../dist/checkpoint.js'
import { readFloat32 } from '../../dist/read-float32.js'

// The oracle of the tests imports nothing, so that it can be compiled by itself.
const source = readFileSync(new URL('../../test/reference.ts', import.meta.url), 'utf8')
const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 }
const { outputText } = ts.transpileModule(source, { compilerOptions })
const url = `data:text/javascript,${encodeURIComponent(outputText)}`
const { argmax, referenceLogits } = await import(url)

/** What greedy decoding gives after the tokens, computed in float64. */
export async function oracleGreedy(directory, tokens, count) {
  const { tensors } = await openCheckpoint(directory)
  const config = JSON.parse(readFileSync(`${directory}/config.json`, 'utf8'))
  const weights = new Map()
  for (const [name, tensor] of tensors) weights.set(name, await readFloat32(tensor))
  const all = [...tokens]
  for (let i = 0; i < count; i++) {
    const logits = referenceLogits(config, weights, all)
    all.push(argmax(logits.subarray(-config.vocab_size)))
  }
  return all.slice(tokens.length)
}
