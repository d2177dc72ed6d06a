import { writeCheckpoint } from '../checkpoint.js'
import { readCompanions } from '../companions.js'
import { configToJson, type OpenELMConfig } from '../config.js'
import { configRule } from '../config-rule.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { decodeFloats, encodeFloats } from '../floats.js'
import { openUnpacked } from '../open-unpacked.js'
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
import { readElements } from '../torch/read-elements.js'
import { isTorchFile, openTorchCheckpoint } from '../torch/torch-checkpoint.js'
import type { WriteOptions } from '../write-checkpoint.js'

/** Options of {@link average}. */
export interface AverageOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** What the mean is stored as. Default float32. */
  dtype?: 'float32' | 'bfloat16' | undefined
  /** The shape of the PyTorch files. Default that of the released model whose shapes they have. */
  config?: OpenELMConfig | undefined
}

const rules = {
  dtype: optional(oneOf('float32', 'bfloat16'), 'float32'),
  config: optional(configRule),
  onProgress: optional(callback<NonNullable<AverageOptions['onProgress']>>()),
  signal: optional(abortSignal),
} satisfies RulesOf<AverageOptions>

/**
 * Writes the mean of the weights of several float checkpoints of one shape, as OpenELM is the mean of
 * the last five of its training. Sums are in float64. The tokenizer, the chat template and
 * generation_config.json come from the first.
 *
 * @param sources directories of checkpoints, or PyTorch files (`.pt`, `.pth`, `.bin`) as
 *   `torchToCheckpoint` of `openelm/convert` reads them.
 * @param out a new directory.
 * @throws OpenELMError INVALID_ARGUMENT, MODEL_NOT_FOUND, INVALID_CONFIG, IO_ERROR, and
 *   INVALID_CHECKPOINT, also when a checkpoint is of another shape or quantised.
 */
export async function average(
  sources: readonly string[],
  out: string,
  options?: AverageOptions,
): Promise<void> {
  const paths = arrayOf(path)('sources', sources)
  if (paths.length === 0) throw invalidArgument('sources', 'a list of at least one', paths)
  const { dtype, config, onProgress, signal } = readOptions(options, rules)
  path('out', out)
  signal?.throwIfAborted()
  const opened = await Promise.all(
    paths.map(path => (isTorchFile(path) ? openTorch(path, config) : openDirectory(path))),
  )
  const [first] = opened as [Source]
  for (const source of opened) requireSameShape(source, first)
  const mean = async function* ({ name, shape }: TensorHeader) {
    const size = shape.reduce((product, length) => product * length, 1)
    for (let begin = 0; begin < size; begin += partSize) {
      signal?.throwIfAborted()
      const part = await meanOf(opened, name, begin, Math.min(begin + partSize, size))
      yield encodeFloats(part, floatTypes[dtype])
    }
  }
  const companions =
    first.directory === undefined ? undefined : await readCompanions(first.directory)
  await writeCheckpoint(out, first.config, dtype, mean, { companions, onProgress, signal })
}

/** A checkpoint that takes part in a mean. */
interface Source {
  /** As error messages call it. */
  readonly name: string
  readonly config: OpenELMConfig
  /** Undefined for a single file, which has nothing beside it. */
  readonly directory: string | undefined
  /** Elements [begin, end) of the tensor of this name. */
  read(name: string, begin: number, end: number): Promise<Float32Array>
}

async function openDirectory(path: string): Promise<Source> {
  const { directory, config, dtype, tensors } = await openUnpacked(path)
  if (dtype === 'q8' || dtype === 'q4') throw invalidCheckpoint(directory, 'it is quantised')
  const read = (name: string, begin: number, end: number) => {
    const tensor = tensors.get(name)!
    const offset = tensor.offset + begin * (tensor.dtype === 'F32' ? 4 : 2)
    return readFloat32({ ...tensor, offset }, [end - begin])
  }
  return { name: directory, config, directory, read }
}

async function openTorch(path: string, given: OpenELMConfig | undefined): Promise<Source> {
  const { file, config, tensors } = await openTorchCheckpoint(path, given)
  const read = async (name: string, begin: number, end: number) => {
    const tensor = tensors.get(name)!
    return decodeFloats(await readElements(tensor, begin, end), tensor.dtype)
  }
  return { name: file, config, directory: undefined, read }
}

function requireSameShape({ name, config }: Source, first: Source): void {
  const shapeOf = (config: OpenELMConfig) => JSON.stringify(configToJson(config, 'float32'))
  if (shapeOf(config) === shapeOf(first.config)) return
  throw invalidCheckpoint(name, `its config differs from ${first.name}'s`)
}

function invalidCheckpoint(name: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${name}: ${what}`)
}

/** Elements that are averaged at a time: then the event loop turns. */
const partSize = 2 ** 18

/** The mean of elements [begin, end) of the tensor of this name. */
async function meanOf(
  sources: readonly Source[],
  name: string,
  begin: number,
  end: number,
): Promise<Float32Array> {
  const sum = new Float64Array(end - begin)
  for (const source of sources) {
    const values = await source.read(name, begin, end)
    for (let i = 0; i < values.length; i++) sum[i]! += values[i]!
  }
  const mean = new Float32Array(sum.length) // Float32Array.from takes a hundred times as long
  for (let i = 0; i < mean.length; i++) mean[i] = sum[i]! / sources.length
  return mean
}
