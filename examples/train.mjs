// Trains a small model on texts, and lets it write. Run: node examples/train.mjs out text.txt...
import { readFile } from 'node:fs/promises'
import { OpenELM, parseConfig } from 'openelm'
import { train, trainTokenizer } from 'openelm/train'

const [out, ...data] = process.argv.slice(2)
if (data.length === 0)
  throw new Error('expected a directory for the model, and files to learn from')

const shape = JSON.parse(await readFile(new URL('tiny.json', import.meta.url), 'utf8'))
const texts = await Promise.all(data.map(file => readFile(file, 'utf8')))
const tokenizer = await trainTokenizer(texts, 400)
const config = parseConfig({ ...shape, vocab_size: 400, max_context_length: 64 }, 'tiny.json')

const run = train({
  config,
  tokenizer,
  data,
  out,
  steps: 20,
  batchSize: 4,
  sequenceLength: 64,
  packing: true,
  minCharacters: 0,
  minTokens: 0,
  maxLearningRate: 3e-3,
  warmupSteps: 5,
  checkpointSteps: 20,
})
let checkpoint
for await (const step of run) {
  if (step.step % 5 === 0) console.log(`step ${step.step}: loss ${step.loss.toFixed(2)}`)
  checkpoint = step.checkpoint ?? checkpoint
}

const model = await OpenELM.load(checkpoint)
const { text } = await model.generate('The', { maxTokens: 30, temperature: 0.8, seed: 1 })
console.log(`The${text}`)
await model.dispose()
