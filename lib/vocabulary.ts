import { BytePairEncoder, type Merges } from './byte-pair-encoder.js'
import { describeJson } from './strict-json.js'
import type { TokenizerModel } from './tokenizer.js'

/** What a tokenizer comes down to. */
export interface Vocabulary {
  vocabSize: number
  /** The tokens of a well-formed text, without BOS. */
  encode(text: string): number[]
  /** The UTF-8 that a token of the model stands for. */
  bytesOf(token: number): Uint8Array
  /** Whether `encode` puts a space in front of the text. */
  prependsSpace: boolean
}

/** What sets one vocabulary apart from another. */
export interface VocabularyParts {
  /** By id, those that text may become, byte tokens among them if `byteFallback`. */
  pieces: readonly (string | undefined)[]
  merges: Merges
  /** Whether a character that is no piece becomes its bytes. */
  byteFallback: boolean
  /** Else it becomes this, if there is one; repeated, or fused into one. */
  unknown?: number | undefined
  fuseUnknown?: boolean
  /** The words that are tokens, whatever the merges say. */
  whole?: ReadonlyMap<string, number> | undefined
  /** The words of a text, which are encoded one by one. */
  split(text: string): string[]
  /** The UTF-8 of a piece that is no byte token. */
  read(piece: string): Uint8Array
}

const utf8 = new TextEncoder()
const noBytes = new Uint8Array(0)

export function createVocabulary(
  { vocabSize }: TokenizerModel,
  parts: VocabularyParts,
): Vocabulary {
  const { byteFallback, unknown, fuseUnknown, whole, split, read } = parts
  const byteTokens: number[] = []
  const pieces = parts.pieces.map((piece, id) => {
    const byte = byteFallback && piece !== undefined ? byteOf(piece) : undefined
    if (byte === undefined) return piece
    byteTokens[byte] = id
    return undefined
  })
  const numByteTokens = Object.keys(byteTokens).length
  check(!byteFallback || numByteTokens === 256, 'byte tokens', '256', numByteTokens)
  const byteOfToken = new Map(byteTokens.map((id, byte) => [id, byte]))

  const encoder = new BytePairEncoder({
    vocabSize,
    pieces,
    merges: parts.merges,
    spell: character => {
      if (byteFallback) return Array.from(utf8.encode(character), byte => byteTokens[byte]!)
      return unknown === undefined ? [] : [unknown]
    },
  })
  return {
    vocabSize,
    encode: text => {
      const tokens: number[] = []
      for (const word of split(text)) {
        const token = whole?.get(word)
        for (const next of token === undefined ? encoder.encode(word) : [token]) {
          const repeatsUnknown = next === unknown && next === tokens.at(-1)
          if (!(fuseUnknown && repeatsUnknown)) tokens.push(next)
        }
      }
      return tokens
    },
    bytesOf: token => {
      const piece = pieces[token]
      if (piece !== undefined) return read(piece)
      const byte = byteOfToken.get(token)
      return byte === undefined ? noBytes : Uint8Array.of(byte)
    },
    prependsSpace: read(split('a').join(''))[0] === 0x20,
  }
}

/** SentencePiece's stand-in for a space. */
export const metaspace = '\u2581'

export function readSentencePiece(piece: string): Uint8Array {
  return utf8.encode(piece.replaceAll(metaspace, ' '))
}

/** The byte that "<0x41>" stands for, for example; undefined if `piece` is no byte token. */
export function byteOf(piece: string): number | undefined {
  const isByte = piece.length === 6 && /^<0x[0-9A-F]{2}>$/.test(piece)
  return isByte ? Number(piece.slice(1, -1)) : undefined
}

export function check(ok: boolean, what: string, expected: string, received: unknown): asserts ok {
  if (!ok) throw new Error(`expected ${what} to be ${expected}, received ${describeJson(received)}`)
}

export function checkId(id: unknown, { vocabSize }: TokenizerModel): asserts id is number {
  const ok = Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  check(ok, 'a token id', `one of the ${vocabSize} of the model`, id)
}
