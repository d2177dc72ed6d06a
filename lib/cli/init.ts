import { Command, Option } from 'commander'
import { type TensorHeader, writeCheckpoint } from '../checkpoint.js'
import { type OpenELMConfig, tensorSpecs } from '../config.js'
import { loadNative } from '../native.js'
import { configOptions, readNamedConfig } from './config-options.js'
import { interruptSignal } from './interrupt.js'
import { addOptions, integer } from './options.js'
import { Progress } from './progress.js'

export const init = addOptions(new Command('init'), configOptions)
  .description('write a checkpoint with random weights, as training would start from')
  .argument('<out>', 'directory to write')
  .addOption(new Option('--seed <n>', 'which random weights').argParser(integer(0)).default(0))
  .addOption(
    new Option('--dtype <dtype>', 'number format')
      .choices(['float32', 'float16', 'bfloat16'])
      .default('bfloat16'),
  )
  .addHelpText(
    'after',
    `
The same seed gives the same weights, in every dtype but for its rounding.

Examples:
  $ openelm init --preset 270M random-270M
  $ openelm init --config tiny.json --seed 7 --dtype float32 tiny`,
  )
  .action(async (out: string, { seed, dtype, ...shape }, command: Command) => {
    const config = await readNamedConfig(shape)
    if (!config) return command.error('expected --preset or --config')
    using bar = new Progress('Writing')
    await writeCheckpoint(out, config, dtype, randomWeights(config, BigInt(seed)), {
      onProgress: bar.update,
      signal: interruptSignal(),
    })
  })

/** What is drawn at a time, so that a large matrix is never in memory as a whole. */
const chunkElements = 2 ** 20

const one = { F32: [0x00, 0x00, 0x80, 0x3f], F16: [0x00, 0x3c], BF16: [0x80, 0x3f] }

/**
 * The weights that CoreNet starts from: norms are 1, matrices normally distributed. Those that write
 * to the residual stream are the smaller the more layers add to it. Each tensor has a stream of
 * random numbers of its own, by its place in the model.
 */
function randomWeights(config: OpenELMConfig, seed: bigint) {
  const addon = loadNative()
  const names = tensorSpecs(config).map(spec => spec.name)
  const residualStd = (2 * config.numLayers * config.modelDim) ** -0.5

  return async function* ({ name, dtype, shape }: TensorHeader) {
    const type = dtype as keyof typeof one
    const [rows = 1, columns] = shape
    if (columns === undefined) {
      yield Buffer.alloc(rows * one[type].length, Uint8Array.from(one[type]))
      return
    }
    const std = /\.(out_proj|proj_2)\./.test(name) ? residualStd : columns ** -0.5
    for (let begin = 0; begin < rows * columns; begin += chunkElements) {
      const end = Math.min(begin + chunkElements, rows * columns)
      yield await addon.randomNormal(seed, names.indexOf(name), begin, end, std, type)
    }
  }
}
