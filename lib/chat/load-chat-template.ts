import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, readJsonObject } from '../files.js'
import { isJsonObject, type JsonObject, parseJson } from '../strict-json.js'
import { jinjaTemplate } from './jinja-template.js'
import { type ChatTemplate, noTemplate, zephyr } from './template.js'

const maxBytes = 16 * 1024 * 1024

/**
 * The chat template of a model: the one given, else that of chat_template.jinja or tokenizer_config.json
 * in its directory, else Zephyr's, as Apple's Instruct models come without one.
 *
 * @param given `zephyr`, `none`, or the text of a Jinja template.
 * @throws OpenELMError INVALID_TOKENIZER when it cannot be used, IO_ERROR.
 */
export async function loadChatTemplate(
  directory: string,
  given?: string | undefined,
): Promise<ChatTemplate> {
  if (given === 'zephyr') return zephyr
  if (given === 'none') return noTemplate
  const { name, text, config } = await readChatTemplate(directory)
  if (given !== undefined) return jinjaTemplate('the chat template given', given, variables(config))
  return text === undefined ? zephyr : jinjaTemplate(name, text, variables(config))
}

/**
 * The Jinja template that a directory holds, if it holds one, and its tokenizer_config.json.
 *
 * @throws OpenELMError INVALID_TOKENIZER, IO_ERROR
 */
export async function readChatTemplate(
  directory: string,
): Promise<{ name: string; text: string | undefined; config: JsonObject }> {
  const configFile = join(directory, 'tokenizer_config.json')
  const config =
    (await ifPresent(readJsonObject(configFile, maxBytes, 'INVALID_TOKENIZER', parseJson))) ?? {}
  const file = join(directory, 'chat_template.jinja')
  const text = await ifPresent(
    readFile(file, 'utf8').catch(cause => {
      throw ioError('read', file, cause)
    }),
  )
  if (text !== undefined) return { name: file, text, config }
  return { name: `the chat_template of ${configFile}`, text: templateOf(config), config }
}

/** A text, or a list in which one is called `default`. */
function templateOf({ chat_template: given }: JsonObject): string | undefined {
  if (typeof given === 'string') return given
  if (!Array.isArray(given)) return undefined
  const named: unknown = given.find(entry => isJsonObject(entry) && entry.name === 'default')
  return isJsonObject(named) && typeof named.template === 'string' ? named.template : undefined
}

/** The special tokens by the names that transformers gives them, such as `eos_token`. */
function variables(config: JsonObject): Record<string, string> {
  const names = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token']
  const entries = names.map((name): [string, unknown] => {
    const token = config[name]
    return [name, isJsonObject(token) ? token.content : token]
  })
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
}

async function ifPresent<Content>(reading: Promise<Content>): Promise<Content | undefined> {
  return reading.catch(error => {
    if (error.cause?.code === 'ENOENT') return undefined
    throw error
  })
}
