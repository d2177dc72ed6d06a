// Layer-wise scaling against uniform layers, the idea of OpenELM's paper at a size that a laptop trains:
// node bench/layer-wise.mjs [WORK], after npm run build. Three seeds of each shape, as many at a time as
// there are cores; an interrupted run goes on where it stopped. Writes layer-wise.jsonl and
// layer-wise.svg beside this file and prints the table of layer-wise.md. The data is what
// layer-wise-corpus.sh brings, the tokenizer learnt from it.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { countParameters, parseConfig } from '../dist/config.js'
import { drawCurves } from './layer-wise-curves.mjs'

const root = resolve(import.meta.dirname, '..')
const work = resolve(process.argv[2] ?? join(root, 'build', 'layer-wise'))
const seeds = [1, 2, 3]

const common = {
  model_type: 'openelm',
  vocab_size: 3072,
  max_context_length: 256,
  num_transformer_layers: 8,
  model_dim: 128,
  head_dim: 16,
  num_gqa_groups: 2,
  ffn_dim_divisor: 8,
  normalize_qk_projections: true,
  share_input_output_layers: true,
}
/** The released models' multipliers, and the uniform ones that give as many parameters. */
const shapes = {
  'layer-wise': { ...common, qkv_multipliers: [0.5, 1.0], ffn_multipliers: [0.5, 4.0] },
  uniform: { ...common, qkv_multipliers: 0.75, ffn_multipliers: 2.31 },
}
const recipe = {
  steps: 2400,
  batchSize: 4,
  packing: true,
  minTokens: 0,
  maxLearningRate: 3e-3,
  warmupSteps: 100,
  checkpointSteps: 100,
  keepCheckpoints: 1,
  validationSteps: 200,
  threads: 1,
}

async function openelm(...args) {
  const command = [join(root, 'dist', 'cli', 'main.js'), ...args]
  const { stdout } = await promisify(execFile)(process.execPath, command, { maxBuffer: 2 ** 26 })
  return stdout
}

function books(part) {
  const folder = join(work, 'corpus', part)
  return readdirSync(folder)
    .sort()
    .map(name => join(folder, name))
}

/** Trains one model, unless it is there, and reads the novel that was held out. */
async function run(shape, seed) {
  const out = join(work, `${shape}-${seed}`)
  const last = join(out, `step-${String(recipe.steps).padStart(8, '0')}`)
  if (!existsSync(last)) {
    await openelm(
      ...['train', out, '--config', join(work, `${shape}.json`)],
      ...['--recipe', join(work, 'recipe.json'), '--seed', String(seed), '--resume'],
      ...['--data', ...books('train'), '--validation', ...books('held-out')],
    )
  }
  const text = books('held-out')[0]
  const { bitsPerByte } = JSON.parse(await openelm('perplexity', '-m', last, text, '--json'))
  const log = readFileSync(join(out, 'log.jsonl'), 'utf8').trim().split('\n')
  const steps = log.map(line => JSON.parse(line))
  const curve = steps
    .filter(({ validationLoss }) => validationLoss !== undefined)
    .map(({ step, validationLoss }) => [step, validationLoss])
  console.log(`${shape}, seed ${seed}: ${bitsPerByte.toFixed(4)} bits per byte`)
  return { shape, seed, bitsPerByte, curve }
}

execFileSync(join(import.meta.dirname, 'layer-wise-corpus.sh'), [work])
writeFileSync(join(work, 'recipe.json'), JSON.stringify(recipe))
for (const [name, shape] of Object.entries(shapes)) {
  writeFileSync(join(work, `${name}.json`), JSON.stringify(shape))
  console.log(`${name}: ${countParameters(parseConfig(shape, name))} parameters`)
}

const waiting = seeds.flatMap(seed => Object.keys(shapes).map(shape => [shape, seed]))
const runs = []
async function workOff() {
  for (let next = waiting.shift(); next; next = waiting.shift()) runs.push(await run(...next))
}
await Promise.all(Array.from({ length: availableParallelism() }, workOff))

const results = Object.keys(shapes).map(shape =>
  seeds.map(seed => runs.find(run => run.shape === shape && run.seed === seed)),
)
const lines = results.flat().map(result => `${JSON.stringify(result)}\n`)
writeFileSync(join(import.meta.dirname, 'layer-wise.jsonl'), lines.join(''))
writeFileSync(join(import.meta.dirname, 'layer-wise.svg'), drawCurves(results.flat()))

/** Mean and sample standard deviation. */
function summary(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return [mean, Math.sqrt(squares / (values.length - 1))]
}

const [layerWise, uniform] = results.map(group => group.map(({ bitsPerByte }) => bitsPerByte))
const difference = layerWise.map((bits, i) => bits - uniform[i])
const row = cells => `| ${cells.join(' | ')} |`
console.log(row(['', ...seeds.map(seed => `seed ${seed}`), 'mean', 'standard deviation']))
console.log(row(['---', ...Array(seeds.length + 2).fill('---:')]))
for (const [name, values] of Object.entries({ 'layer-wise': layerWise, uniform, difference })) {
  console.log(row([name, ...[...values, ...summary(values)].map(value => value.toFixed(4))]))
}
