import { type OpenELMConfig, tensorSpecs } from './config.js'
import { loadNative } from './native.js'

/** What is drawn at a time, so that a large matrix is never in memory as a whole. */
const chunkElements = 2 ** 20

const one = { F32: [0x00, 0x00, 0x80, 0x3f], F16: [0x00, 0x3c], BF16: [0x80, 0x3f] }

/**
 * The weights that CoreNet starts from: norms are 1, matrices normally distributed. Those that write
 * to the residual stream are the smaller the more layers add to it. Each tensor has a stream of
 * random numbers of its own, by its place in the model.
 *
 * @returns the bytes of a tensor of float dtype, in chunks.
 */
export function randomWeights(config: OpenELMConfig, seed: bigint) {
  const addon = loadNative()
  const names = tensorSpecs(config).map(spec => spec.name)
  const residualStd = (2 * config.numLayers * config.modelDim) ** -0.5

  return async function* (tensor: {
    readonly name: string
    readonly dtype: string
    readonly shape: readonly number[]
  }): AsyncGenerator<Uint8Array> {
    const { name, shape } = tensor
    const type = tensor.dtype as keyof typeof one
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
