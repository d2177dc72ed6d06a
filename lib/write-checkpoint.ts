import { mkdir, rm, rmdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { configToJson, type OpenELMConfig } from './config.js'
import { configRule } from './config-rule.js'
import { invalidArgument } from './errors.js'
import { ioError, readDirectory, writeWhole } from './files.js'
import { inBlocks } from './in-blocks.js'
import {
  abortSignal,
  callback,
  number,
  oneOf,
  optional,
  path,
  type RulesOf,
  readOptions,
  rule,
} from './options.js'
import { encodeSafetensorsHeader } from './safetensors.js'
import {
  type DType,
  dtypes,
  groupSize,
  isFloat,
  type Layout,
  type TensorHeader,
  tensorHeaders,
} from './tensor-headers.js'
import { indexName, singleName } from './weight-files.js'

/** Options of {@link writeCheckpoint}. */
export interface WriteOptions {
  /** Largest shard in bytes of tensor data, unless one tensor alone is larger. Default 5e9. */
  maxShardBytes?: number | undefined
  /** What a float checkpoint stores norms as. Default the type of the matrices. */
  normType?: 'F32' | undefined
  /** `panels` packs matrices as the CPU backend reads them. Default `rows`. */
  layout?: Layout | undefined
  /** Files that belong to the checkpoint, by name, such as a tokenizer.json. */
  companions?: ReadonlyMap<string, Uint8Array> | undefined
  /** Called after each chunk with the bytes of tensor data so far and in all. */
  onProgress?: ((writtenBytes: number, totalBytes: number) => void) | undefined
  /** Aborting rejects with the signal's reason and leaves no file behind. */
  signal?: AbortSignal | undefined
}

const rules = {
  maxShardBytes: optional(number({ above: 0 }), 5e9),
  normType: optional(oneOf('F32')),
  layout: optional(oneOf('rows', 'panels'), 'rows'),
  companions: optional(rule('a Map', value => value instanceof Map)),
  onProgress: optional(callback<NonNullable<WriteOptions['onProgress']>>()),
  signal: optional(abortSignal),
} satisfies RulesOf<WriteOptions>

/**
 * Gives the bytes of one tensor in chunks of any size, row-major and little-endian. A chunk is
 * written before the next is asked for, so they may share one buffer.
 */
export type TensorSource = (
  header: TensorHeader,
) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/**
 * Writes a checkpoint into a new or empty directory: the weights as `model.safetensors`, or as
 * shards with an index when they exceed `maxShardBytes`, its companions, and config.json last, so that a
 * directory with a config.json is complete. Files appear under their names only when they are whole.
 *
 * @param source called once for each of {@link tensorHeaders}, in their order.
 * @throws OpenELMError INVALID_ARGUMENT when a tensor gets more or fewer bytes than it has, IO_ERROR
 *   when a file cannot be written or the directory already holds a checkpoint, or whatever `source`
 *   throws. Then no file is left, nor a directory that was made for them.
 */
export async function writeCheckpoint(
  directory: string,
  config: OpenELMConfig,
  dtype: DType,
  source: TensorSource,
  options?: WriteOptions,
): Promise<void> {
  path('directory', directory)
  configRule('config', config)
  oneOf(...dtypes)('dtype', dtype)
  callback()('source', source)
  const { normType, layout, ...given } = readOptions(options, rules)
  const { maxShardBytes, companions, onProgress, signal } = given
  const headers = tensorHeaders(config, dtype, normType, layout)
  const shards = splitIntoShards(headers, maxShardBytes)
  const total = headers.reduce((sum, header) => sum + header.byteLength, 0)
  let done = 0

  async function* contentOf(shard: readonly TensorHeader[]) {
    yield encodeSafetensorsHeader(shard, metadataFor(dtype, layout))
    for (const header of shard) {
      for await (const chunk of checkedData(header, source)) {
        signal?.throwIfAborted()
        yield chunk
        done += chunk.length
        onProgress?.(done, total)
      }
    }
  }

  const root = resolve(directory)
  const isNew = await makeDirectory(root)
  const written: string[] = []
  const write = async (name: string, chunks: Parameters<typeof writeWhole>[1]) => {
    signal?.throwIfAborted()
    await writeWhole(join(root, name), chunks)
    written.push(join(root, name))
  }
  try {
    for (const { name, headers } of shards) await write(name, inBlocks(contentOf(headers)))
    if (shards.length > 1) await write(indexName, [jsonBytes(indexOf(shards, total))])
    for (const [name, bytes] of companions ?? []) await write(name, [bytes])
    await write('config.json', [jsonBytes(configToJson(config, dtype))])
  } catch (error) {
    await Promise.allSettled(written.map(file => rm(file)))
    if (isNew) await rmdir(root).catch(() => {})
    throw error
  }
}

interface Shard {
  readonly name: string
  readonly headers: readonly TensorHeader[]
}

function splitIntoShards(headers: readonly TensorHeader[], maxBytes: number): Shard[] {
  const shards: TensorHeader[][] = [[]]
  let bytes = 0
  for (const header of headers) {
    const size = header.byteLength
    if (bytes > 0 && bytes + size > maxBytes) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1)!.push(header)
    bytes += size
  }
  const digits = (n: number) => String(n).padStart(5, '0')
  return shards.map((headers, i) => {
    const numbered = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`
    return { name: shards.length === 1 ? singleName : numbered, headers }
  })
}

function indexOf(shards: readonly Shard[], totalBytes: number): object {
  const entries = shards.flatMap(({ name, headers }) => headers.map(header => [header.name, name]))
  return { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(entries) }
}

function metadataFor(dtype: DType, layout: Layout): Record<string, string> {
  const quantised = { 'openelm.dtype': dtype, 'openelm.group_size': String(groupSize) }
  // Hugging Face's loaders insist on a format.
  return {
    format: 'pt',
    ...(isFloat(dtype) ? {} : quantised),
    ...(layout === 'rows' ? {} : { 'openelm.layout': layout }),
  }
}

async function* checkedData(header: TensorHeader, source: TensorSource) {
  const expected = header.byteLength
  const data = `the data of ${header.name}`
  let received = 0
  for await (const chunk of source(header)) {
    if (!(chunk instanceof Uint8Array)) throw invalidArgument(data, 'Uint8Array chunks', chunk)
    received += chunk.length
    if (received > expected) break
    yield chunk
  }
  if (received !== expected) throw invalidArgument(data, `${expected} bytes`, received)
}

/**
 * Makes the directory and tells whether it is new. Refuses one with weights: a reader might take old
 * ones for new ones.
 */
async function makeDirectory(root: string): Promise<boolean> {
  try {
    const isNew = (await mkdir(root, { recursive: true })) !== undefined
    const names = await readDirectory(root)
    const isTaken = (name: string) =>
      name === 'config.json' || name === indexName || name.endsWith('.safetensors')
    const taken = names.find(isTaken)
    if (taken !== undefined) throw new Error(`it already holds ${taken}`)
    return isNew
  } catch (cause) {
    throw ioError('write', root, cause)
  }
}

function jsonBytes(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
}
