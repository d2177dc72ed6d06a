// The speed of two builds of this package side by side, in turns, each measurement in a process of its own:
//   node bench/compare.mjs OLD NEW MODEL... [--rounds 5]
// OLD and NEW are checkouts with dist/ and build/Release; MODEL is a directory. Prints tokens a second of
// a stream and of a prompt of 512 tokens, the medians over the rounds, and the ratio of NEW to OLD.
import { execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '5' }, child: { type: 'boolean', default: false } },
})

if (values.child) {
  const [checkout, directory] = positionals
  const { OpenELM } = await import(pathToFileURL(join(resolve(checkout), 'dist/index.js')))
  console.log(JSON.stringify(await measure(await OpenELM.load(directory))))
} else {
  const [before, after, ...models] = positionals
  for (const model of models) compare(before, after, model, Number(values.rounds))
}

/** The best of three, so that one slow moment of the machine does not count. */
async function measure(model) {
  const length = Math.min(512, model.config.maxContextLength / 2)
  const prompt = Array.from({ length }, (_, i) => 3 + ((i * 7) % (model.config.vocabSize - 3)))
  const speeds = { decode: 0, prefill: 0 }
  for (let i = 0; i < 3; i++) {
    const start = performance.now()
    await model.generate(prompt, { maxTokens: 1 })
    speeds.prefill = Math.max(speeds.prefill, (length / (performance.now() - start)) * 1000)
    speeds.decode = Math.max(speeds.decode, await decodeSpeed(model, prompt.slice(0, 8)))
  }
  await model.dispose()
  return speeds
}

async function decodeSpeed(model, prompt) {
  const maxTokens = Math.min(model.config.maxContextLength - prompt.length, 128)
  let tokens = -1 // the first comes with the prompt
  let start = 0
  for await (const _ of model.stream(prompt, { maxTokens, ignoreEos: true })) {
    if (++tokens === 0) start = performance.now()
  }
  return (tokens / (performance.now() - start)) * 1000
}

function compare(before, after, model, rounds) {
  const results = [[], []]
  for (let round = 0; round < rounds; round++) {
    for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const args = [import.meta.filename, '--child', [before, after][which], model]
      results[which].push(JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })))
    }
  }
  for (const figure of ['decode', 'prefill']) {
    const [old, now] = results.map(runs => median(runs.map(run => run[figure])))
    console.log(
      `${model} ${figure}: ${old.toFixed(1)} -> ${now.toFixed(1)} tokens a second, ${(now / old).toFixed(3)}`,
    )
  }
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}
