// The speed of two builds of this package side by side:
//   node bench/compare.mjs OLD NEW MODEL... [--rounds 5]
// OLD and NEW are checkouts with dist/ and build/Release; MODEL is a directory. In each round both load
// the model, in a process each, and then take short turns, so that a machine whose speed changes from
// minute to minute is as fast for one as for the other. Prints tokens a second of a stream and of a
// prompt of 512 tokens, the medians of all turns, and the ratio of NEW to OLD: the median of the
// ratios of neighbouring turns, and those of each round. Whether the system had huge pages for the
// weights changes from process to process, and the speed with it: so they load first by turns, and
// the megabytes of huge pages of OLD and NEW in each round are printed, too, on Linux.
import { fork } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const turns = 6 // of each build in a round
const figures = ['decode', 'prefill']

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, child: { type: 'boolean', default: false } },
})

if (values.child) {
  await serve(...positionals)
} else {
  const [before, after, ...models] = positionals
  for (const model of models) await compare(before, after, model, Number(values.rounds))
}

/** Loads the model and answers each message with the speeds of one turn. */
async function serve(checkout, directory) {
  const { OpenELM } = await import(pathToFileURL(join(resolve(checkout), 'dist/index.js')))
  const model = await OpenELM.load(directory)
  process.on('message', async () => process.send(await measure(model)))
  process.send(hugePages())
}

/** Megabytes that this process has in huge pages. */
function hugePages() {
  const file = '/proc/self/smaps_rollup'
  const kilobytes =
    existsSync(file) && /AnonHugePages: *(\d+)/.exec(readFileSync(file, 'utf8'))?.[1]
  return Math.round(Number(kilobytes || NaN) / 1024)
}

async function measure(model) {
  const length = Math.min(512, model.config.maxContextLength / 2)
  const prompt = Array.from({ length }, (_, i) => 3 + ((i * 7) % (model.config.vocabSize - 3)))
  const start = performance.now()
  await model.generate(prompt, { maxTokens: 1 })
  const prefill = (length / (performance.now() - start)) * 1000
  return { decode: await decodeSpeed(model, prompt.slice(0, 8)), prefill }
}

async function decodeSpeed(model, prompt) {
  const maxTokens = Math.min(model.config.maxContextLength - prompt.length, 65)
  let tokens = -1 // the first comes with the prompt
  let start = 0
  for await (const _ of model.stream(prompt, { maxTokens, ignoreEos: true })) {
    if (++tokens === 0) start = performance.now()
  }
  return (tokens / (performance.now() - start)) * 1000
}

async function compare(before, after, model, rounds) {
  const all = []
  const pages = []
  for (let round = 0; round < rounds; round++) {
    const { pairs, hugePages } = await runRound(before, after, model, round)
    all.push(pairs)
    pages.push(hugePages.join('/'))
  }
  for (const figure of figures) {
    const pairs = all.flat().map(pair => pair.map(speeds => speeds[figure]))
    const [old, now] = [0, 1].map(which => median(pairs.map(pair => pair[which])))
    const ratio = pairs => median(pairs.map(([old, now]) => now / old)).toFixed(3)
    const ofRounds = all.map(round => ratio(round.map(pair => pair.map(speeds => speeds[figure]))))
    console.log(
      `${model} ${figure}: ${old.toFixed(1)} -> ${now.toFixed(1)} tokens a second, ` +
        `${ratio(pairs)} (rounds ${ofRounds.join(' ')})`,
    )
  }
  console.log(`${model} megabytes in huge pages: ${pages.join(' ')}`)
}

/** Pairs of speeds, of the old build and of the new. Which goes first changes from turn to turn. */
async function runRound(before, after, model, round) {
  const children = []
  const hugePages = []
  for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
    const checkout = [before, after][which]
    children[which] = fork(import.meta.filename, ['--child', checkout, model])
    hugePages[which] = await answer(children[which])
  }
  const pairs = []
  for (let turn = -1; turn < turns; turn++) {
    const pair = []
    for (const which of turn % 2 === 0 ? [0, 1] : [1, 0]) {
      children[which].send('measure')
      pair[which] = await answer(children[which])
    }
    if (turn >= 0) pairs.push(pair) // the turn before warms up
  }
  for (const child of children) child.kill()
  return { pairs, hugePages }
}

function answer(child) {
  return new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', code => reject(new Error(`a process ended with ${code}`)))
  })
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}
