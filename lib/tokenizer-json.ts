import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, readJsonObject } from './files.js'
import type { JsonObject } from './strict-json.js'

const maxFileBytes = 64 * 1024 * 1024

/** SentencePiece's stand-in for a space. */
export const metaspace = '\u2581'

/**
 * The content of a tokenizer.json, unchecked, and what to call it in an error.
 *
 * @param source the file, or a directory. Undefined, or a directory without that file, gives the
 *   vocabulary of LLaMA in this form.
 * @throws OpenELMError IO_ERROR, or INVALID_TOKENIZER when it is not one JSON object.
 */
export async function readTokenizerJson(
  source: string | undefined,
): Promise<{ name: string; json: JsonObject }> {
  const file = source === undefined ? undefined : await findTokenizerJson(source)
  if (file !== undefined) {
    return { name: file, json: await readJsonObject(file, maxFileBytes, 'INVALID_TOKENIZER') }
  }
  const name = 'the LLaMA vocabulary, in want of a tokenizer.json'
  return { name, json: await llamaTokenizerJson() }
}

async function findTokenizerJson(source: string): Promise<string | undefined> {
  try {
    if (!(await stat(source)).isDirectory()) return source
    const name = 'tokenizer.json'
    return (await readdir(source)).includes(name) ? join(source, name) : undefined
  } catch (cause) {
    throw ioError('read', source, cause)
  }
}

async function llamaTokenizerJson(): Promise<JsonObject> {
  // It unpacks its vocabulary when it is imported, which only those who need it should wait for.
  const { default: llama } = await import('llama-tokenizer-js')
  return {
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: metaspace },
        { type: 'Replace', pattern: { String: ' ' }, content: metaspace },
      ],
    },
    decoder: { type: 'Metaspace' },
    model: {
      type: 'BPE',
      byte_fallback: true,
      vocab: Object.fromEntries(llama.vocabById.map((piece, id) => [piece, id])),
      merges: [...llama.merges.keys()],
    },
  }
}
