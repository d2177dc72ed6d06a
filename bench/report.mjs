// Writes the tables and charts of a folder's results.json: npm run report -- [results]. Those of
// `results` stand in README.md, those of any other folder in a README.md of its own.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bytesPerToken, promptOperations, quantile } from '../dist/cli/measure-speed.js'
import { countParameters, presets } from '../dist/config.js'
import { drawLines, drawSpeeds } from './charts.mjs'

const engines = ['openelm', 'node-llama-cpp']
const bench = fileURLToPath(new URL('.', import.meta.url))
const longDTypes = { bf16: 'bfloat16', q8: 'q8', q4: 'q4' }

export async function writeReport(results, folder) {
  const sections = [
    describeMachine(results),
    results.speed && speedSection(results.speed),
    results.start && startSection(results.start),
    results.depth && depthSection(results.depth),
    results.growth && growthSection(results.growth),
    results.stories && storiesSection(results.stories),
    results.install && installSection(results.install),
    results.quality && qualitySection(results.quality),
  ]
  const tables = sections.filter(Boolean).join('\n\n')
  if (folder === 'results') {
    const begin = '<!-- results -->'
    const page = join(bench, 'README.md')
    const text = readFileSync(page, 'utf8')
    const kept = text.slice(0, text.indexOf(begin) + begin.length)
    writeFileSync(page, `${kept}\n\n${tables.replaceAll('](', '](results/')}\n`)
  } else {
    const head = '# Benchmarks on another machine\n\n[What is measured](../README.md).'
    writeFileSync(join(bench, folder, 'README.md'), `${head}\n\n${tables}\n`)
  }
  await drawCharts(results, join(bench, folder))
}

/** The median of what the machine reached in the rounds, by number of threads. */
function roofsOf(speeds) {
  const roofs = new Map()
  for (const count of new Set(speeds.map(({ threads }) => threads))) {
    const mine = speeds.filter(({ threads }) => threads === count)
    const spread = key => spreadOf(mine.map(speed => speed[key]))
    roofs.set(count, { readBandwidth: spread('readBandwidth'), floatPeak: spread('floatPeak') })
  }
  return roofs
}

function spreadOf(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return { median: quantile(values, 0.5), low, high }
}

function describeMachine({ machine, command, machineSpeeds = [] }) {
  const { processor, cores, memory, platform, node, date } = machine
  const lines = [...roofsOf(machineSpeeds)].map(([threads, { readBandwidth, floatPeak }]) => {
    const bandwidth = show(readBandwidth, x => (x / 1e9).toFixed(1))
    const peak = show(floatPeak, x => (x / 1e9).toFixed(0))
    return [threads, `${bandwidth} GB/s`, `${peak} GFLOP/s`]
  })
  const head = `${processor}, ${cores} cores, ${(memory / 2 ** 30).toFixed(0)} GiB, ${platform}, Node ${node}, ${date}.`
  return `${head} \`npm run bench -- ${command}\`

${table(['threads', 'memory read', 'float32 multiply-adds'], lines)}`
}

const median = values => quantile(values, 0.5)

function speedsOf({ rounds }, engine, name) {
  return spreadOf(rounds.flatMap(round => speedsIn(round, engine, name)))
}

function speedsIn(round, engine, name) {
  return round[engine].tests.find(test => test.name === name).tokensPerSecond
}

/** Tokens a second that the machine allowed a round's engine: the mean of just before and just after. */
function roofIn({ order, machine }, engine, model, name) {
  const config = presets[model.size]
  const prompt = /^pp(\d+)$/.exec(name)
  const i = order.indexOf(engine)
  const mean = key => (machine[i][key] + machine[i + 1][key]) / 2
  return prompt
    ? (mean('floatPeak') * Number(prompt[1])) / promptOperations(config, Number(prompt[1]))
    : mean('readBandwidth') / bytesPerToken(config, longDTypes[model.dtype])
}

function medianIn(round, engine, name) {
  return median(speedsIn(round, engine, name))
}

/** The median of the rounds' shares of what the machine allowed. */
function shareOf({ model, rounds }, engine, name) {
  return median(
    rounds.map(round => medianIn(round, engine, name) / roofIn(round, engine, model, name)),
  )
}

/** The median of the rounds' ratios. */
function ratioOf({ rounds }, name) {
  const [own, rival] = engines
  return median(rounds.map(round => medianIn(round, own, name) / medianIn(round, rival, name)))
}

function speedCells(one, name) {
  const cells = engines.map(engine => {
    const share = (100 * shareOf(one, engine, name)).toFixed(0)
    return `${show(speedsOf(one, engine, name), formatSpeed)} (${share}%)`
  })
  return [...cells, `${ratioOf(one, name).toFixed(2)}x`]
}

/**
 * The rounds of a case during which memory kept its speed, by that speed: [{ bandwidth, rounds }] in
 * ascending order, a new group wherever the next round had a fifth more.
 */
function memoryStates({ rounds }) {
  const states = []
  const steady = rounds
    .map(round => ({ round, ...spreadOf(round.machine.map(speed => speed.readBandwidth)) }))
    .filter(({ low, high }) => high < 1.2 * low)
    .sort((a, b) => a.median - b.median)
  for (const { round, median } of steady) {
    const last = states.at(-1)
    if (last && median < 1.2 * last.bandwidths.at(-1)) {
      last.bandwidths.push(median)
      last.rounds.push(round)
    } else {
      states.push({ bandwidths: [median], rounds: [round] })
    }
  }
  return states.map(({ bandwidths, rounds }) => ({ bandwidth: median(bandwidths), rounds }))
}

function speedSection(cases) {
  const rows = cases.flatMap(one =>
    one.rounds[0].openelm.tests.map(({ name }) => {
      return [one.model.size, one.model.dtype, one.threads, name, ...speedCells(one, name)]
    }),
  )
  const most = Math.max(...cases.map(({ threads }) => threads))
  const states = cases
    .filter(({ threads }) => threads === most)
    .flatMap(one =>
      memoryStates(one).map(({ bandwidth, rounds }) => [
        one.model.size,
        one.model.dtype,
        one.threads,
        `${(bandwidth / 1e9).toFixed(0)} GB/s`,
        rounds.length,
        ...speedCells({ ...one, rounds }, 'tg128'),
      ]),
    )
  const details = cases.map(one => [
    one.model.size,
    one.model.dtype,
    one.threads,
    ...engines.map(engine => {
      const times = one.rounds.map(round => round[engine].tests.at(-1).tokenMs)
      const [middles, p99s] = [0.5, 0.99].map(part => times.map(ms => quantile(ms, part)))
      const ratio = median(p99s.map((p99, i) => p99 / middles[i]))
      return `${median(middles).toFixed(1)} / ${median(p99s).toFixed(1)} (${ratio.toFixed(2)}x)`
    }),
    ...engines.map(engine => show(loadOf(one, engine), x => x.toFixed(0))),
    ...engines.map(engine => (memoryOf(one, engine).median / 1e6).toFixed(0)),
  ])
  return `## Speed

Tokens a second: the median of the rounds, their range, and the share of what the memory (tg) or \
float32 multiply-adds (pp) allowed just before and after. Shares and ratios are medians of the rounds' own.

${table(['model', 'weights', 'threads', 'test', ...engines, 'ratio'], rows)}

tg128 with ${most} threads again, of the rounds during which memory kept its speed, by that speed:

${table(['model', 'weights', 'threads', 'memory', 'rounds', ...engines, 'ratio'], states)}

![Decode](decode.svg)

![Prefill](prefill.svg)

The black lines are what reading the weights once for each token, or float32 multiply-adds, allow on this machine.

Of the same runs: milliseconds from a token to the next in tg128 (median / p99, and the median of \
the rounds' own ratios), milliseconds to load with the file in the page cache \
(openelm: \`OpenELM.load\`; node-llama-cpp: \`loadModel\` and \`createContext\`, \
without \`getLlama\`), and peak memory of the process in MB.

${table(
  [
    'model',
    'weights',
    'threads',
    'token, openelm',
    'token, node-llama-cpp',
    'load, openelm',
    'load, node-llama-cpp',
    'memory, openelm',
    'memory, node-llama-cpp',
  ],
  details,
)}`
}

function loadOf({ rounds }, engine) {
  return spreadOf(rounds.map(round => round[engine].loadMs))
}

function memoryOf({ rounds }, engine) {
  return spreadOf(rounds.map(round => round[engine].peakMemory))
}

function startSection(cases) {
  const rows = cases.map(one => {
    const [own, rival] = engines.map(engine => spreadOf(one.rounds.map(round => round[engine])))
    const milliseconds = spread => show(spread, x => x.toFixed(0))
    const ratio = `${(own.median / rival.median).toFixed(2)}x`
    return [one.model.size, one.model.dtype, milliseconds(own), milliseconds(rival), ratio]
  })
  return `## From process start to the first token

Milliseconds, with the file in the page cache.

${table(['model', 'weights', ...engines, 'ratio'], rows)}`
}

function depthSection(cases) {
  const rows = cases.flatMap(one => {
    const names = one.rounds[0].openelm.tests.map(({ name }) => name)
    return names.map(name => {
      const cells = engines.map(engine => {
        const share = median(
          one.rounds.map(
            round => medianIn(round, engine, name) / medianIn(round, engine, names[0]),
          ),
        )
        return `${show(speedsOf(one, engine, name), formatSpeed)} (${(100 * share).toFixed(0)}%)`
      })
      return [one.model.dtype, name.replace('tg32@d', ''), ...cells]
    })
  })
  const [{ model, threads }] = cases
  return `## Decode against the length of the context

${model.size}, ${threads} threads: tokens a second after so many tokens, and the share of the \
first row (the median of the rounds' own). Each engine keeps keys and values as it does by \
default: openelm in float32 beside bf16 weights and in float16 beside q8 and q4, node-llama-cpp in float16.

${table(['weights', 'context', ...engines], rows)}

![Decode against context](depth.svg)`
}

function growthSection(cases) {
  const rows = cases.map(one => [
    one.model.size,
    ...engines.map(engine => show(loadOf(one, engine), x => x.toFixed(0))),
    ...engines.map(engine => (memoryOf(one, engine).median / 1e6).toFixed(0)),
  ])
  const head = [
    'load, openelm',
    'load, node-llama-cpp',
    'memory, openelm',
    'memory, node-llama-cpp',
  ]
  return `## Load and memory from 270M to 3B

bf16, ${cases[0].threads} threads: milliseconds to load as above, and peak memory in MB after a prompt of 32 tokens.

${table(['model', ...head], rows)}

![Load](load.svg)

![Memory](memory.svg)`
}

function storiesSection([one]) {
  const { name } = one.rounds[0].openelm.tests[0]
  const [own, rival] = engines.map(engine => speedsOf(one, engine, name))
  const cells = [own, rival].map(speed => show(speed, x => x.toFixed(0)))
  return `## A very small model

stories260K in float32, one thread, 256 tokens through \`stream()\` and \`evaluate()\`: what a \
token costs beside its arithmetic.

${table(['', ...engines, 'ratio'], [['tokens a second', ...cells, `${(own.median / rival.median).toFixed(1)}x`]])}`
}

function installSection({ openelm, 'node-llama-cpp': rival }) {
  const megabytes = bytes => (bytes / 1e6).toFixed(1)
  const ratio = bytes => `${((100 * openelm) / bytes).toFixed(1)}%`
  return `## Install size

MB on the disk, dependencies included.

${table(
  ['', 'MB', 'openelm is'],
  [
    ['openelm, for this platform', megabytes(openelm), ''],
    ['node-llama-cpp, as npm installs it', megabytes(rival.total), ratio(rival.total)],
    [
      "node-llama-cpp, without other platforms' and GPUs' binaries",
      megabytes(rival.cpuOnly),
      ratio(rival.cpuOnly),
    ],
  ],
)}`
}

function qualitySection(models) {
  const sections = models.map(({ name, text, tokens, rows }) => {
    const lines = rows.map(
      ({ engine, format, bitsPerWeight, relativeError, divergence, perplexity }) => [
        engine,
        format,
        bitsPerWeight.toFixed(2),
        relativeError.toExponential(2),
        divergence.toExponential(2),
        perplexity.toFixed(3),
      ],
    )
    const head = ['', 'format', 'bits a weight', 'logit error', 'KL divergence', 'perplexity']
    return `${name}, ${tokens} tokens: ${text}.\n\n${table(head, lines)}`
  })
  return `## Quality of quantised weights

Against float32: the norm of the difference of all centred logits over their norm, the mean KL \
divergence in nats, and perplexity. Bits a weight are those of all tensors. \`openelm\` and \
\`node-llama-cpp\` are the engines as they run, which also round what the weights are multiplied \
with (node-llama-cpp with a float32 KV cache and without flash attention, which would add errors \
of their own). "Weights alone" is the same weights in float32 arithmetic. llama.cpp leaves rows \
whose length 32 does not divide in F16; "rounding of all matrices" is its rounding where openelm \
rounds, to as many bits.

${sections.join('\n\n')}`
}

async function drawCharts({ speed, depth, growth }, folder) {
  const chart = name => join(folder, `${name}.svg`)
  const most = Math.max(...(speed ?? []).map(({ threads }) => threads))
  const speeds = name =>
    speed
      .filter(({ threads }) => threads === most)
      .flatMap(one =>
        engines.map(engine => ({
          model: `${one.model.size}, ${name}`,
          dtype: one.model.dtype,
          engine,
          speed: speedsOf(one, engine, name).median,
          roof: median(one.rounds.map(round => roofIn(round, engine, one.model, name))),
        })),
      )
  if (speed) {
    await drawSpeeds(chart('decode'), `Decode, ${most} threads`, speeds('tg128'))
    await drawSpeeds(chart('prefill'), `Prefill, ${most} threads`, speeds('pp512'))
  }
  if (depth) {
    const values = engines.flatMap(engine =>
      depth[0].rounds[0][engine].tests.map(({ name }) => {
        return { engine, x: Number(name.slice(6)), y: speedsOf(depth[0], engine, name).median }
      }),
    )
    const title = `Decode against context, ${depth[0].model.dtype}`
    await drawLines(chart('depth'), title, 'tokens before', 'tokens a second', values)
  }
  if (growth) {
    const values = measure =>
      growth.flatMap(one =>
        engines.map(engine => {
          const x = countParameters(presets[one.model.size]) / 1e9
          return { engine, x, y: measure(one, engine).median }
        }),
      )
    const [load, memory] = [values(loadOf), values(memoryOf)]
    const inUnits = (list, unit) => list.map(value => ({ ...value, y: value.y / unit }))
    const xTitle = 'billion parameters, bf16'
    await drawLines(chart('load'), 'Load', xTitle, 'seconds', inUnits(load, 1e3))
    await drawLines(chart('memory'), 'Peak memory', xTitle, 'GB', inUnits(memory, 1e9))
  }
}

function show({ median, low, high }, format) {
  return low === high ? format(median) : `${format(median)} [${format(low)}–${format(high)}]`
}

function formatSpeed(speed) {
  return speed.toFixed(speed < 100 ? 1 : 0)
}

function table(head, rows) {
  const line = cells => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2] ?? 'results'
  await writeReport(JSON.parse(readFileSync(join(bench, folder, 'results.json'), 'utf8')), folder)
}
