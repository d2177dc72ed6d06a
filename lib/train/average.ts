import {
  type Checkpoint,
  type CheckpointTensor,
  openCheckpoint,
  writeCheckpoint,
} from '../checkpoint.js'
import { readCompanions } from '../companions.js'
import { configToJson } from '../config.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { encodeFloats } from '../floats.js'
import {
  abortSignal,
  arrayOf,
  callback,
  oneOf,
  optional,
  path,
  type RulesOf,
  readOptions,
} from '../options.js'
import { readFloat32 } from '../read-float32.js'
import { floatTypes, type TensorHeader } from '../tensor-headers.js'
import type { WriteOptions } from '../write-checkpoint.js'

/** Options of {@link average}. */
export interface AverageOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** What the mean is stored as. Default float32. */
  dtype?: 'float32' | 'bfloat16' | undefined
}

const rules = {
  dtype: optional(oneOf('float32', 'bfloat16'), 'float32'),
  onProgress: optional(callback<NonNullable<AverageOptions['onProgress']>>()),
  signal: optional(abortSignal),
} satisfies RulesOf<AverageOptions>

/**
 * Writes the mean of the weights of several float checkpoints of one shape, as OpenELM is the mean of
 * the last five of its training. Sums are in float64. The tokenizer, the chat template and
 * generation_config.json come from the first.
 *
 * @param directories of the checkpoints.
 * @param out a new directory.
 * @throws OpenELMError INVALID_ARGUMENT, MODEL_NOT_FOUND, INVALID_CONFIG, IO_ERROR, and
 *   INVALID_CHECKPOINT, also when a checkpoint is of another shape or quantised.
 */
export async function average(
  directories: readonly string[],
  out: string,
  options?: AverageOptions,
): Promise<void> {
  const sources = arrayOf(path)('directories', directories)
  if (sources.length === 0) throw invalidArgument('directories', 'a list of at least one', sources)
  const { dtype, onProgress, signal } = readOptions(options, rules)
  path('out', out)
  signal?.throwIfAborted()
  const checkpoints = await Promise.all(sources.map(openCheckpoint))
  const [first] = checkpoints as [Checkpoint]
  for (const checkpoint of checkpoints) requireSameShape(checkpoint, first)
  const source = async function* ({ name, shape }: TensorHeader) {
    const tensors = checkpoints.map(checkpoint => checkpoint.tensors.get(name)!)
    const size = shape.reduce((product, length) => product * length, 1)
    for (let begin = 0; begin < size; begin += partSize) {
      signal?.throwIfAborted()
      const mean = await meanOf(tensors, begin, Math.min(begin + partSize, size))
      yield encodeFloats(mean, floatTypes[dtype])
    }
  }
  const companions = await readCompanions(first.directory)
  await writeCheckpoint(out, first.config, dtype, source, { companions, onProgress, signal })
}

function requireSameShape({ directory, config, dtype }: Checkpoint, first: Checkpoint): void {
  const shapeOf = (checkpoint: Pick<Checkpoint, 'config'>) =>
    JSON.stringify(configToJson(checkpoint.config, 'float32'))
  const complaint =
    dtype === 'q8' || dtype === 'q4'
      ? 'it is quantised'
      : shapeOf({ config }) !== shapeOf(first) && `its config differs from ${first.directory}'s`
  if (complaint) throw new OpenELMError('INVALID_CHECKPOINT', `${directory}: ${complaint}`)
}

/** Elements that are averaged at a time: then the event loop turns. */
const partSize = 2 ** 18

/** The mean of elements [begin, end) of each tensor. */
async function meanOf(
  tensors: readonly CheckpointTensor[],
  begin: number,
  end: number,
): Promise<Float32Array> {
  const sum = new Float64Array(end - begin)
  for (const tensor of tensors) {
    const offset = tensor.offset + begin * (tensor.dtype === 'F32' ? 4 : 2)
    const values = await readFloat32({ ...tensor, offset }, [end - begin])
    for (let i = 0; i < values.length; i++) sum[i]! += values[i]!
  }
  return Float32Array.from(sum, value => value / tensors.length)
}
