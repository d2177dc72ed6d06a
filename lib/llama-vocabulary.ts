import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Merges } from './byte-pair-encoder.js'
import { ioError } from './files.js'
import type { Normalizer } from './normalizer.js'
import { packageRoot } from './package-root.js'
import { noPreTokenizer } from './pre-tokenizer.js'
import { metaspace, readSentencePiece } from './sentence-piece.js'
import { convertInParts, isBetweenCharacters, replaceEach } from './steps.js'
import { check, checkId, type TokenizerModel } from './tokenizer-model.js'
import type { VocabularyParts } from './vocabulary.js'

const controlTokens = ['<unk>', '<s>', '</s>']

interface Contents {
  pieces: readonly (string | undefined)[]
  merges: Merges
}

let contents: Promise<Contents> | undefined

/**
 * LLaMA's vocabulary. Once read, it is kept.
 *
 * @throws OpenELMError IO_ERROR; the next call tries again.
 */
export async function llamaVocabulary(): Promise<(model: TokenizerModel) => VocabularyParts> {
  contents ??= readContents().catch(error => {
    contents = undefined
    throw error
  })
  const { pieces, merges } = await contents
  return model => {
    checkId(pieces.length - 1, model)
    for (const end of [model.bosTokenId, model.eosTokenId]) {
      check(pieces[end] === undefined, 'BOS and EOS', 'added tokens', pieces[end])
    }
    return {
      pieces,
      merges,
      addedTokens: controlTokens.map((content, id) => ({
        id,
        content,
        special: true,
        lstrip: false,
        rstrip: false,
        singleWord: false,
        normalized: false,
      })),
      names: pieces.map((piece, id) => piece ?? controlTokens[id]),
      byteFallback: true,
      normalizer,
      preTokenizer: noPreTokenizer,
      read: readSentencePiece,
    }
  }
}

const normalizer: Normalizer = {
  *normalize(text) {
    const replace = (part: string) => replaceEach(part, ' ', metaspace)
    return metaspace + (yield* convertInParts(text, isBetweenCharacters, replace))
  },
  shrinks: 1,
}

/** The file is laid out to be read in a few milliseconds: see the README beside it. */
async function readContents(): Promise<Contents> {
  const file = join(packageRoot(), 'models', 'llama-tokenizer', 'vocabulary.bin')
  const bytes = await readFile(file).catch(cause => {
    throw ioError('read', file, cause)
  })
  const { buffer } = Uint8Array.from(bytes)
  const length = new DataView(buffer).getUint32(0, true)
  const column = (i: number) => new Uint16Array(buffer, 4 + 2 * length * i, length)
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4 + 6 * length))
  return {
    pieces: text.split('\n').map((piece, id) => (id < controlTokens.length ? undefined : piece)),
    merges: { left: column(0), right: column(1), merged: column(2) },
  }
}
