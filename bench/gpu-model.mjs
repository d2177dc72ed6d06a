// What a decode step should take on a GPU, predicted from what its kernels launch, so that the first
// measurement has something to be laid beside:
//   node bench/gpu-model.mjs [--card H100] [--launches]
// Prints tokens a second, greedy, at position 512, for each size and dtype: the limit, which is the time
// to read the weights and the live cache; the kernels as they were before any ran on a GPU, for which an
// expert's own model gave 2,050 tokens a second for 270M in bfloat16 on an H100; and as they are.
// --launches prints each product of a step.
import { parseArgs } from 'node:util'
import { presets } from '../dist/index.js'

/**
 * Bandwidth is what a large copy reaches, about 90% of the data sheet's; clocks are the boost clocks of
 * the data sheets; latencies are those of published microbenchmarks, 270 cycles to L2 and 600 to memory
 * on an H100, and about the same time on the others.
 */
const cards = {
  H100: { multiprocessors: 132, bandwidth: 3.0e12, clock: 1.755e9, overlaps: true },
  'RTX 4090': { multiprocessors: 128, bandwidth: 0.93e12, clock: 2.52e9, overlaps: false },
  A100: { multiprocessors: 108, bandwidth: 1.75e12, clock: 1.41e9, overlaps: false },
}
const memoryLatency = 0.342e-6
/** One trip to L2 and what a loop does between two of them. */
const trip = 0.25e-6
/**
 * From the end of a kernel to the first instruction of the next that may read its results, in a graph.
 * What comes from memory meanwhile is not taken off the time of the rest: on an H100 somebody's graph
 * of 100 kernels that load before they wait took 979 us for 824 us of bytes, 1.55 us a kernel more.
 */
const gap = { overlapped: 0.8e-6, apart: 1.3e-6 }
/** The sums over lanes and warps, the epilogue, and the store that others see. */
const tail = 0.35e-6
/**
 * The launch of the graph and JavaScript, for each token; and a copy of the token there and one back,
 * which take 5 to 8 us together. Both are off the path where the next step is in the stream before this
 * one has ended, as in a generation that the engine draws ahead of its caller: then only the first kernel
 * of a graph does not overlap the last of the one before.
 */
const host = 9e-6
const copies = 5e-6
/** Instructions a warp issues in a cycle, with a few independent chains; a multiprocessor issues 4. */
const issuedByWarp = 0.75
const registersOfMultiprocessor = 65536
const position = 512
const vocabulary = 32000

/** Of a weight, in bytes, with its scale; and of a lane's chunk, in weights. */
const formats = {
  bfloat16: { bytes: 2, chunk: 8 },
  q8: { bytes: 1 + 2 / 32, chunk: 16 },
  q4: { bytes: 0.5 + 2 / 32, chunk: 32 },
}

const divideUp = (a, b) => Math.ceil(a / b)

/**
 * How the first version launched a product: a warp took two rows a lane and all columns, after the
 * block had put the input into shared memory.
 */
function before({ rows, cols }, dtype, { multiprocessors }) {
  const rowsOfWarp = (2 * 32) / (256 / formats[dtype].chunk)
  const blocksOf = warps => divideUp(rows, warps * rowsOfWarp)
  let warps = 4
  while (warps > 1 && blocksOf(warps) < 2 * multiprocessors) warps /= 2
  return {
    blocks: blocksOf(warps),
    warps,
    registers: { bfloat16: 56, q8: 78, q4: 80 }[dtype],
    underWay: warps * 32 * 4 * 16 * 1.5, // the next tile is loaded while this one is multiplied
    trips: divideUp(cols / 4, warps * 32),
    instructions: { bfloat16: 4.4, q8: 5.6, q4: 4.7 }[dtype],
    overlaps: false,
  }
}

/**
 * As divide() of native/cuda/matvec_division.h divides it, which test/gpu-model.test.ts holds against it;
 * its registers and instructions, test/cuda-machine-code.test.ts. `underWay`: what a block loads before it
 * waits, and keeps under way after; `early`: what all do.
 */
function now({ rows, cols }, dtype, { multiprocessors, overlaps }) {
  const mostWarps = 16
  const { bytes } = formats[dtype]
  const { mostSteps, depth, rowsOfWarp } = {
    bfloat16: { mostSteps: 5, depth: 2, rowsOfWarp: 1 },
    q8: { mostSteps: 3, depth: 3, rowsOfWarp: 2 },
    q4: { mostSteps: 2, depth: 3, rowsOfWarp: 4 },
  }[dtype]
  const allSteps = divideUp(cols, 256)
  const slices = divideUp(allSteps, mostSteps)
  const steps = divideUp(allSteps, slices)
  const passes = divideUp(slices, mostWarps)
  const across = divideUp(slices, passes)
  const bytesOfRow = Math.min(across * steps * 256, cols) * bytes
  const wanted = Math.min((rows * cols * bytes) / multiprocessors, 40 * 1024)
  let best
  for (let warps = across; warps <= mostWarps; warps += across) {
    const rowsAtOnce = (warps / across) * rowsOfWarp
    for (let resident = 1; resident * warps <= mostWarps; ++resident) {
      const places = multiprocessors * resident
      const rounds = divideUp(rows, places * 80)
      const rowsOfBlock = 2 * divideUp(divideUp(rows, places * rounds), 2)
      const blocks = divideUp(rows, rowsOfBlock)
      const early = count => Math.min(count, rowsAtOnce * depth) * bytesOfRow
      const underWay = Math.min(resident, blocks / multiprocessors) * early(rowsOfBlock)
      const missing = Math.max(Math.floor(wanted - underWay), 0)
      const turns = divideUp(rowsOfBlock, rowsAtOnce)
      const work =
        (divideUp(blocks, places) * (turns + 1) * resident * warps) /
        Math.min(4, issuedByWarp * resident * warps)
      const cost = [missing, work, resident * warps]
      if (best && !comesBefore(cost, best.cost)) continue
      best = { cost, blocks, warps, rowsOfBlock, rowsTaken: turns * rowsAtOnce, early }
    }
  }
  const { blocks, warps, rowsOfBlock, rowsTaken, early } = best
  const instructions = { bfloat16: 277 / 80, q8: 683 / 144, q4: 642 / 192 }[dtype]
  return {
    blocks,
    warps,
    registers: { bfloat16: 121, q8: 128, q4: 128 }[dtype],
    underWay: early(rowsOfBlock),
    early: (blocks - 1) * early(rowsOfBlock) + early(rows - (blocks - 1) * rowsOfBlock),
    trips: passes,
    // Also for what is multiplied without being there.
    instructions: (((instructions * rowsTaken) / rowsOfBlock) * slices * mostSteps) / allSteps,
    overlaps,
  }
}

function comesBefore(a, b) {
  const i = a.findIndex((value, at) => value !== b[at])
  return i >= 0 && a[i] < b[i]
}

/** What of a launch is on a multiprocessor at a time, and how fast that is, in bytes a second. */
function rates(launch, dtype, card) {
  const registers = launch.registers * 32 * launch.warps
  const resident = Math.floor(registersOfMultiprocessor / registers)
  const average = launch.blocks / card.multiprocessors
  const blocks = Math.min(resident, average)
  // Where all blocks run at once, some multiprocessors have one more than others.
  const balance = average < resident ? average / Math.ceil(average) : 1
  const underWay = blocks * launch.underWay
  const issued = Math.min(4, blocks * launch.warps * issuedByWarp) * card.clock
  const weights = (issued * 32) / launch.instructions
  return {
    underWay: Math.max(blocks, 1) * launch.underWay, // of one that has a block
    latency: (balance * card.multiprocessors * underWay) / memoryLatency,
    issue: balance * card.multiprocessors * weights * formats[dtype].bytes,
  }
}

function timeOfProduct(matrix, dtype, card, design) {
  const launch = design(matrix, dtype, card)
  const { underWay, latency, issue } = rates(launch, dtype, card)
  const bytes = matrix.rows * matrix.cols * formats[dtype].bytes
  const start = card.overlaps ? gap.overlapped : gap.apart
  const first = launch.overlaps ? 0 : memoryLatency
  const stream = bytes / Math.min(card.bandwidth, latency, issue)
  return { ...launch, underWay, bytes, time: start + launch.trips * trip + first + stream + tail }
}

/** Embeddings, which the head shares, are not stored in 4 bits. */
const dtypeOfHead = dtype => (dtype === 'q4' ? 'q8' : dtype)

function products(config, layer) {
  const { modelDim, headDim } = config
  const q = config.numQueryHeads[layer] * headDim
  const kv = config.numKvHeads[layer] * headDim
  const ffn = config.ffnDims[layer]
  return {
    qkv_proj: { rows: q + 2 * kv, cols: modelDim },
    out_proj: { rows: modelDim, cols: q },
    proj_1: { rows: 2 * ffn, cols: modelDim },
    proj_2: { rows: modelDim, cols: ffn },
  }
}

/** Seconds for a token. `smallTrips`: of each kernel of a layer without weights, dependent trips to L2. */
function step(config, dtype, card, { design, smallTrips, draw, perToken }) {
  const start = card.overlaps ? gap.overlapped : gap.apart
  const small = trips => start + trips * trip + tail
  let time = perToken(card)
  for (let layer = 0; layer < config.numLayers; ++layer) {
    for (const matrix of Object.values(products(config, layer))) {
      time += timeOfProduct(matrix, dtype, card, design).time
    }
    for (const trips of smallTrips(card)) time += small(trips)
  }
  const head = { rows: vocabulary, cols: config.modelDim }
  return (
    time + timeOfProduct(head, dtypeOfHead(dtype), card, design).time + small(2) + small(draw(card))
  )
}

/** Seconds to read the weights and the live cache. */
function limit(config, dtype, card) {
  const head = vocabulary * config.modelDim * formats[dtypeOfHead(dtype)].bytes
  let weights = 0
  let cache = 0
  for (let layer = 0; layer < config.numLayers; ++layer) {
    for (const { rows, cols } of Object.values(products(config, layer))) weights += rows * cols
    cache += 2 * position * config.numKvHeads[layer] * config.headDim * 2
  }
  return (head + weights * formats[dtype].bytes + cache) / card.bandwidth
}

/**
 * Before: norm, RoPE and append; attention over splits of the keys; their merge. Now one kernel: a trip
 * for the products with qkv_proj and one for what is computed, two until all splits are counted, one to
 * merge them. The keys come before, where kernels overlap; else they take one, after the batch. A draw
 * took eight trips for the logits and two for sums, and takes one for the logits and two for sums, and
 * one for the batch where kernels do not overlap.
 */
const versions = [
  { design: before, smallTrips: () => [3, 6, 3], draw: () => 10, perToken: () => host + copies },
  {
    design: now,
    smallTrips: card => [card.overlaps ? 5 : 6],
    draw: card => (card.overlaps ? 3 : 4),
    perToken: card => (card.overlaps ? gap.apart - gap.overlapped : 0),
  },
]

function printLaunches(name, card) {
  for (const dtype of Object.keys(formats)) {
    const print = (what, matrix, dtypeOfMatrix = dtype) => {
      const launch = timeOfProduct(matrix, dtypeOfMatrix, card, now)
      const share = launch.bytes / Math.min(launch.blocks, card.multiprocessors)
      console.log(
        `${name} ${dtype} ${what}: ${matrix.rows} x ${matrix.cols},`,
        `${launch.blocks} blocks of ${launch.warps} warps, ${launch.early} bytes before the wait,`,
        `${(launch.underWay / 1024).toFixed(1)} of ${(share / 1024).toFixed(1)} KB under way`,
        `on a multiprocessor, ${(launch.time * 1e6).toFixed(1)} us`,
      )
    }
    for (let layer = 0; layer < presets[name].numLayers; ++layer) {
      for (const [product, matrix] of Object.entries(products(presets[name], layer))) {
        print(`layer ${layer} ${product}`, matrix)
      }
    }
    print('head', { rows: vocabulary, cols: presets[name].modelDim }, dtypeOfHead(dtype))
  }
}

const { values } = parseArgs({
  options: { card: { type: 'string' }, launches: { type: 'boolean', default: false } },
})
for (const [name, card] of Object.entries(cards)) {
  if (values.card && values.card !== name) continue
  console.log(`\n${name}: tokens a second: limit, before, now`)
  for (const [size, config] of Object.entries(presets)) {
    const perSecond = Object.keys(formats).map(dtype => {
      const steps = versions.map(version => step(config, dtype, card, version))
      const all = [limit(config, dtype, card), ...steps]
      return `${dtype} ${all.map(seconds => (1 / seconds).toFixed(0).padStart(6)).join(' ')}`
    })
    console.log(`${size.padEnd(5)} ${perSecond.join('   ')}`)
  }
  if (values.launches) for (const size of Object.keys(presets)) printLaunches(size, card)
}
