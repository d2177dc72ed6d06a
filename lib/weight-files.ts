import { join } from 'node:path'
import { OpenELMError } from './errors.js'
import { ioError, readDirectory, readJsonObject } from './files.js'
import { readSafetensorsHeader, type SafetensorsHeader } from './safetensors.js'
import { describeJson, isJsonObject, type JsonObject } from './strict-json.js'

export const singleName = 'model.safetensors'
export const indexName = 'model.safetensors.index.json'

export interface WeightFile extends SafetensorsHeader {
  readonly file: string
}

export interface WeightFiles {
  readonly files: readonly WeightFile[]
  /** The file that says which tensors there are, to name when one is missing. */
  readonly source: string
  /** What is odd about the files and changes nothing, a sentence each. */
  readonly remarks: readonly string[]
}

const maxIndexBytes = 16_000_000

/**
 * Finds the safetensors files of a model directory and reads their headers: `model.safetensors`, or
 * the shards of `model.safetensors.index.json`, or the only `.safetensors` file there is.
 *
 * @throws OpenELMError IO_ERROR when a file cannot be read, INVALID_CHECKPOINT naming the file and
 *   what is wrong with it.
 */
export async function readWeightFiles(directory: string): Promise<WeightFiles> {
  const names = await readDirectory(directory).catch(cause => {
    throw ioError('read', directory, cause)
  })
  if (names.includes(singleName)) return readSingle(join(directory, singleName))
  if (names.includes(indexName)) return readShards(directory, new Set(names))

  const candidates = names.filter(isShardName).sort()
  if (candidates.length === 1) return readSingle(join(directory, candidates[0]!))
  const received = candidates.length === 0 ? 'none' : `${candidates.length} without an index`
  throw invalid(directory, `expected a .safetensors file, received ${received}`)
}

async function readSingle(file: string): Promise<WeightFiles> {
  return { files: [{ file, ...(await readSafetensorsHeader(file)) }], source: file, remarks: [] }
}

async function readShards(directory: string, present: ReadonlySet<string>): Promise<WeightFiles> {
  const source = join(directory, indexName)
  const index = await readJsonObject(source, maxIndexBytes, 'INVALID_CHECKPOINT')
  const weightMap = parseWeightMap(index, source)

  const files: WeightFile[] = []
  for (const name of new Set(weightMap.values())) {
    if (!present.has(name)) throw invalid(source, `there is no file ${name} beside it`)
    const { files: shard } = await readSingle(join(directory, name))
    files.push(...shard)
  }
  checkWeightMap(weightMap, files, directory, source)
  return { files, source, remarks: sizeRemark(index, files) }
}

/** A plain, visible name: an index must not reach outside of its directory on any system. */
function isShardName(value: unknown): value is string {
  return typeof value === 'string' && /^[^./\\:\0][^/\\:\0]*\.safetensors$/.test(value)
}

function parseWeightMap(index: JsonObject, source: string): Map<string, string> {
  if (!isJsonObject(index.weight_map)) {
    const received = describeJson(index.weight_map)
    throw invalid(source, `expected weight_map to be an object, received ${received}`)
  }
  const weightMap = new Map<string, string>()
  for (const [tensor, shard] of Object.entries(index.weight_map)) {
    if (!isShardName(shard)) {
      const expected = 'the name of a .safetensors file in the same directory'
      const received = describeJson(shard)
      throw invalid(
        source,
        `expected weight_map of ${describeJson(tensor)} to be ${expected}, received ${received}`,
      )
    }
    weightMap.set(tensor, shard)
  }
  return weightMap
}

/** The index and the shards must tell the same, or two readers could load two different models. */
function checkWeightMap(
  weightMap: ReadonlyMap<string, string>,
  files: readonly WeightFile[],
  directory: string,
  source: string,
): void {
  let mapped = 0
  for (const { file, tensors } of files) {
    for (const name of tensors.keys()) {
      const shard = weightMap.get(name)
      if (shard === undefined || join(directory, shard) !== file) {
        throw invalid(source, `${file} holds ${describeJson(name)}, but weight_map says otherwise`)
      }
      mapped++
    }
  }
  if (mapped === weightMap.size) return
  const held = new Set(files.flatMap(({ tensors }) => [...tensors.keys()]))
  const missing = [...weightMap.keys()].find(name => !held.has(name))
  throw invalid(source, `no shard holds the tensor ${describeJson(missing)}`)
}

/** What is wrong with the size that an index tells. Hugging Face's loader never looks at it. */
function sizeRemark(index: JsonObject, files: readonly WeightFile[]): string[] {
  const claimed = isJsonObject(index.metadata) ? index.metadata.total_size : undefined
  if (claimed === undefined) return []
  let actual = 0
  for (const { tensors } of files) {
    for (const { byteLength } of tensors.values()) actual += byteLength
  }
  if (claimed === actual) return []
  return [
    `total_size of ${indexName} is ${describeJson(claimed)}, the tensors take ${actual} bytes`,
  ]
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${where}: ${what}`)
}
