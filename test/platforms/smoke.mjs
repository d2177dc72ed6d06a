// Uses the package here, whatever system this is, and writes down what came of it:
//   node smoke.mjs <folder of the package's modules> <folder with the inputs> <result.json>
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, folder, out] = process.argv.slice(2)
const load = name => import(pathToFileURL(join(modules, name)).href)
const { OpenELM, machineInfo, parseConfig } = await load('index.js')
const { train } = await load('train/index.js')
const { checkpointToGguf, ggufToCheckpoint, quantize } = await load('convert/index.js')
const { tokens, shape, texts } = JSON.parse(readFileSync(join(folder, 'inputs.json'), 'utf8'))

async function withModel(source, options, use) {
  const model = await OpenELM.load(source, { backend: 'cpu', threads: 2, ...options })
  try {
    return await use(model)
  } finally {
    await model.dispose()
  }
}

const write = async model =>
  (await model.generate('It was a fine evening, and', { maxTokens: 24, temperature: 0 })).text

/** The last logits of each model of the oracle. */
async function oracle() {
  const logits = {}
  for (const name of readdirSync(join(folder, 'oracle'))) {
    logits[name] = await withModel(join(folder, 'oracle', name), {}, async model => {
      const all = await model.logits(tokens)
      return [...all.slice(-model.config.vocabSize)]
    })
  }
  return logits
}

async function trained() {
  const config = parseConfig(shape, 'inputs.json')
  const tokenizer = join(folder, 'tokenizer.json')
  const options = { steps: 2, batchSize: 2, sequenceLength: 32, warmupSteps: 1, checkpointSteps: 2 }
  const data = [join(folder, 'text.txt')]
  const filters = { packing: true, minCharacters: 0, minTokens: 0 }
  const run = join(folder, 'Läufe 跑')
  const losses = []
  for await (const { loss } of train({
    config,
    tokenizer,
    data,
    out: run,
    ...options,
    ...filters,
  })) {
    losses.push(loss)
  }
  return losses
}

/** Of names that are hard: a path of more than 260 characters, and signs of other scripts. */
async function converted() {
  let deep = join(folder, 'tief')
  while (deep.length < 300) deep = join(deep, 'ein langer Name, 長い名前')
  mkdirSync(deep, { recursive: true })
  const file = join(deep, 'модель.gguf')
  await checkpointToGguf('openelm-nano', file, { dtype: 'q8_0' })
  await ggufToCheckpoint(file, join(deep, 'q8'))
  return await withModel(join(deep, 'q8'), {}, write)
}

/** While a model is in use, its files can be written over: it has read them. */
async function replaced() {
  const directory = join(folder, 'replaced')
  await quantize('openelm-nano', directory, { dtype: 'q4' })
  return await withModel(directory, {}, async model => {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name)
      writeFileSync(path, readFileSync(path))
    }
    return await write(model)
  })
}

const result = {
  platform: `${process.platform}-${process.arch}`,
  node: process.version,
  glibc: process.report.getReport().header.glibcVersionRuntime ?? 'none',
  ...machineInfo(),
  text: await withModel('openelm-nano', {}, write),
  tokens: await withModel('openelm-nano', {}, async ({ tokenizer }) =>
    texts.map(text => tokenizer.encode(text)),
  ),
  logits: await oracle(),
  losses: await trained(),
  converted: await converted(),
  replaced: await replaced(),
}
writeFileSync(out, JSON.stringify(result))
