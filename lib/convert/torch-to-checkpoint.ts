import type { OpenELMConfig } from '../config.js'
import { configRule } from '../config-rule.js'
import { decodeFloats, encodeFloats } from '../floats.js'
import { optional, path, type RulesOf, readOptions } from '../options.js'
import { floatTypes, type TensorHeader } from '../tensor-headers.js'
import { readElements } from '../torch/read-elements.js'
import { openTorchCheckpoint, type TorchCheckpoint } from '../torch/torch-checkpoint.js'
import { type WriteOptions, writeCheckpoint } from '../write-checkpoint.js'
import { progressOptions } from './progress-options.js'

/** Options of {@link torchToCheckpoint}. */
export interface TorchToCheckpointOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** The shape of the model. Default that of the released model whose shapes the tensors have. */
  config?: OpenELMConfig | undefined
}

const rules = {
  ...progressOptions,
  config: optional(configRule),
} satisfies RulesOf<TorchToCheckpointOptions>

/**
 * Writes the model of a PyTorch file (`.pt`, `.pth`, `.bin`) as a checkpoint, with every number as it is:
 * in the float type that the matrices share, else in float32, which holds the numbers of all. Reads what
 * `torch.save` wrote since version 1.6: a state dict, or a training checkpoint with one. The names may be
 * those of Hugging Face or of CoreNet, whose spare rows of the embedding are left out. Nothing in the
 * file is executed.
 *
 * @param directory new or empty.
 * @throws OpenELMError INVALID_ARGUMENT, also when no `config` is given and the shapes are those of no
 *   released model; IO_ERROR, INVALID_CHECKPOINT; or the reason of `options.signal`. Then no part of the
 *   checkpoint is left.
 */
export async function torchToCheckpoint(
  file: string,
  directory: string,
  options?: TorchToCheckpointOptions,
): Promise<void> {
  path('file', file)
  path('directory', directory)
  const { config: given, onProgress, signal } = readOptions(options, rules)
  const { config, tensors } = await openTorchCheckpoint(file, given)
  const { dtype, normType } = typesOf(tensors)
  const source = async function* (header: TensorHeader) {
    const tensor = tensors.get(header.name)!
    const size = header.shape.reduce((product, length) => product * length, 1)
    for (let begin = 0; begin < size; begin += partSize) {
      const bytes = await readElements(tensor, begin, Math.min(begin + partSize, size))
      yield tensor.dtype === header.dtype
        ? bytes
        : encodeFloats(decodeFloats(bytes, tensor.dtype), 'F32')
    }
  }
  await writeCheckpoint(directory, config, dtype, source, { normType, onProgress, signal })
}

/** Elements that are in memory at a time. */
const partSize = 2 ** 18

/** Types that hold all numbers of the tensors. */
function typesOf(tensors: TorchCheckpoint['tensors']) {
  const all = [...tensors.values()]
  const typesOfRank = (rank: number) =>
    new Set(all.filter(({ shape }) => shape.length === rank).map(({ dtype }) => dtype))
  const [first, ...others] = typesOfRank(2)
  const dtypes = Object.keys(floatTypes) as (keyof typeof floatTypes)[]
  const shared = dtypes.find(dtype => floatTypes[dtype] === first)!
  if (others.length > 0) return { dtype: 'float32', normType: undefined } as const
  const hasSameNorms = [...typesOfRank(1)].every(type => type === first)
  return { dtype: shared, normType: hasSameNorms ? undefined : 'F32' } as const
}
