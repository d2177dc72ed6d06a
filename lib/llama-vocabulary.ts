import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Merges } from './byte-pair-encoder.js'
import { ioError } from './files.js'
import type { TokenizerModel } from './tokenizer.js'
import { check, checkId, metaspace, readSentencePiece, type VocabularyParts } from './vocabulary.js'

const file = join(import.meta.dirname, '..', 'models', 'llama-tokenizer', 'vocabulary.bin')
const numControlTokens = 3 // <unk>, <s> and </s>

interface Contents {
  pieces: readonly (string | undefined)[]
  merges: Merges
}

let contents: Promise<Contents> | undefined

/** LLaMA's vocabulary. Once read, it is kept. */
export async function llamaVocabulary(): Promise<(model: TokenizerModel) => VocabularyParts> {
  contents ??= readContents()
  const { pieces, merges } = await contents
  return model => {
    checkId(pieces.length - 1, model)
    for (const end of [model.bosTokenId, model.eosTokenId]) {
      check(pieces[end] === undefined, 'BOS and EOS', 'added tokens', pieces[end])
    }
    return {
      pieces,
      merges,
      byteFallback: true,
      split: text => (text === '' ? [] : [metaspace + text.replaceAll(' ', metaspace)]),
      read: readSentencePiece,
    }
  }
}

/** The file is laid out to be read in a few milliseconds: see the README beside it. */
async function readContents(): Promise<Contents> {
  const bytes = await readFile(file).catch(cause => {
    throw ioError('read', file, cause)
  })
  const { buffer } = Uint8Array.from(bytes)
  const length = new DataView(buffer).getUint32(0, true)
  const column = (i: number) => new Uint16Array(buffer, 4 + 2 * length * i, length)
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4 + 6 * length))
  return {
    pieces: text.split('\n').map((piece, id) => (id < numControlTokens ? undefined : piece)),
    merges: { left: column(0), right: column(1), merged: column(2) },
  }
}
