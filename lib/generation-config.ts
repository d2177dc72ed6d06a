import { join } from 'node:path'
import type { OpenELMConfig } from './config.js'
import { OpenELMError } from './errors.js'
import { readJsonObject } from './files.js'
import { describeJson, parseJson } from './strict-json.js'

const maxBytes = 1_000_000

/**
 * The tokens that end a generation: as in transformers, those that generation_config.json names, a number
 * or a list, and without them those of config.json. Ids that the model does not have are left out.
 *
 * @throws OpenELMError INVALID_CONFIG when the file is no JSON object or names something else, IO_ERROR
 *   when it is there and cannot be read.
 */
export async function readEosTokenIds(
  directory: string,
  { vocabSize, eosTokenIds }: OpenELMConfig,
): Promise<readonly number[]> {
  const file = join(directory, 'generation_config.json')
  const json = await readJsonObject(file, maxBytes, 'INVALID_CONFIG', parseJson).catch(error => {
    if (error.cause?.code === 'ENOENT') return undefined
    throw error
  })
  const named = json?.eos_token_id ?? eosTokenIds
  const ids: unknown[] = Array.isArray(named) ? named : [named]
  const wrong = ids.find(id => !Number.isInteger(id) || (id as number) < 0)
  if (wrong !== undefined) {
    const received = describeJson(wrong)
    const message = `${file}: expected eos_token_id to be a token id or a list of them, received ${received}`
    throw new OpenELMError('INVALID_CONFIG', message)
  }
  return (ids as number[]).filter(id => id < vocabSize)
}
