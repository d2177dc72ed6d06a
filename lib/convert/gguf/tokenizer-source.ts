import { llamaVocabulary } from '../../llama-vocabulary.js'
import { metaspace } from '../../sentence-piece.js'
import type { JsonObject } from '../../strict-json.js'
import { findTokenizerJson, readTokenizerJson as readFile } from '../../tokenizer-file.js'

/**
 * The content of the tokenizer.json of a model directory, unchecked, and what to call it in an error.
 * A directory without that file gives LLaMA's vocabulary in this form.
 *
 * @throws OpenELMError IO_ERROR, or INVALID_TOKENIZER when it is not one JSON object.
 */
export async function readTokenizerJson(
  directory: string,
): Promise<{ name: string; json: JsonObject }> {
  const file = await findTokenizerJson(directory)
  if (file === undefined) return { name: "LLaMA's vocabulary", json: await llamaTokenizerJson() }
  return { name: file, json: await readFile(file) }
}

const controlTokens = ['<unk>', '<s>', '</s>']

export async function llamaTokenizerJson(): Promise<JsonObject> {
  const parts = (await llamaVocabulary())({ vocabSize: 32000, bosTokenId: 1, eosTokenId: 2 })
  const pieces = parts.pieces.map((piece, id) => piece ?? controlTokens[id]!)
  const { left, right } = parts.merges
  return {
    added_tokens: controlTokens.map((content, id) => ({ id, content, special: true })),
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
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: Array.from(left, (id, i) => `${pieces[id]} ${pieces[right[i]!]}`),
    },
  }
}
