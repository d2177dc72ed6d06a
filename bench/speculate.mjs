// Decoding with drafts beside decoding without, against how many drafts are right:
//   node bench/speculate.mjs [--target 1.1B:q8] [--draft 270M:q4] [--right 0,0.5,0.7,0.9,1] [--lookup]
//     [--threads 2] [--tokens 128] [--rounds 5] [--num-draft-tokens 8] [--folder /tmp/models]
// The models are scripted (scripted.mjs): the draft model guesses the right token with each of the given
// probabilities. --lookup measures prompt lookup in their place, on text that repeats itself after 64
// tokens and on text that does not. Ways to decode take turns; printed are the medians of tokens a second
// and of the ratios to decoding without drafts.
import { parseArgs } from 'node:util'
import { OpenELM } from '../dist/index.js'
import { makeScript, prepareScripted, starts, wrongScript } from './scripted.mjs'

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: '1.1B:q8' },
    draft: { type: 'string', default: '270M:q4' },
    right: { type: 'string', default: '0,0.5,0.7,0.9,1' },
    lookup: { type: 'boolean', default: false },
    threads: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '5' },
    'num-draft-tokens': { type: 'string', default: '8' },
    folder: { type: 'string', default: '/tmp/models' },
  },
})

const script = makeScript()
const target = await load(values.target, 'right', script)
if (values.lookup) {
  await report(`${values.target}, a text that repeats itself`, starts.repeating, {
    promptLookup: true,
  })
  await report(`${values.target}, a text that does not`, starts.other, { promptLookup: true })
} else {
  for (const right of values.right.split(',').map(Number)) {
    const draftModel = await load(values.draft, `${right}`, wrongScript(script, right))
    await report(`${values.target} with ${values.draft}, ${right * 100}% right`, starts.other, {
      draftModel,
    })
    await draftModel.dispose()
  }
}
await target.dispose()

async function load(name, variant, script) {
  const [size, dtype] = name.split(':')
  const directory = await prepareScripted(values.folder, size, variant, script)
  const names = { bf16: 'bfloat16' }
  return OpenELM.load(directory, {
    backend: 'cpu',
    threads: Number(values.threads),
    dtype: names[dtype] ?? dtype,
  })
}

async function report(name, start, drafting) {
  const options = { ...drafting, numDraftTokens: Number(values['num-draft-tokens']) }
  const ways = [{}, options]
  const rounds = []
  for (let round = -1; round < Number(values.rounds); round++) {
    const results = []
    for (const way of round % 2 ? ways : ways.toReversed()) {
      const result = await decode(start, way)
      results[ways.indexOf(way)] = result
    }
    if (round >= 0) rounds.push(results) // the round before warms up
  }
  const [without, drafted] = ways.map((_, i) => median(rounds.map(results => results[i].speed)))
  const ratio = median(rounds.map(([without, drafted]) => drafted.speed / without.speed))
  const accepted = median(rounds.map(results => results[1].accepted))
  console.log(
    `${name}: ${without.toFixed(1)} -> ${drafted.toFixed(1)} tokens a second, ${ratio.toFixed(2)}x; ` +
      `${(accepted * 100).toFixed(0)}% of the tokens were guessed`,
  )
}

/** Tokens a second behind a prompt of two circles of the script, and the share of tokens guessed. */
async function decode(start, drafting) {
  const prompt = [start]
  while (prompt.length < 128) prompt.push(script[prompt.at(-1)])
  const maxTokens = Number(values.tokens) + 1
  const stream = target.stream(prompt, { maxTokens, ignoreEos: true, ...drafting })
  let begin = 0
  let last = prompt.at(-1)
  for await (const { token } of stream) {
    begin ||= performance.now()
    if (token !== script[last]) throw new Error(`token ${token} does not follow ${last}`)
    last = token
  }
  const seconds = (performance.now() - begin) / 1000
  const { usage } = await stream.result
  return {
    speed: (maxTokens - 1) / seconds,
    accepted: (usage.acceptedDraftTokens ?? 0) / maxTokens,
  }
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}
