import { type AddedToken, type AddedTokens, findersOf } from './added-tokens.js'
import { byteLevelCharacters } from './byte-level.js'
import { BytePairEncoder, type Merges } from './byte-pair-encoder.js'
import type { Normalizer } from './normalizer.js'
import type { PreTokenizer } from './pre-tokenizer.js'
import { byteOf } from './sentence-piece.js'
import { finish, type Steps } from './steps.js'
import { check, type TokenizerModel } from './tokenizer-model.js'

/** Texts and token ids. */
type Parts = readonly (string | number)[]

/** What a tokenizer comes down to. */
export interface Vocabulary {
  vocabSize: number
  /** Adds the tokens of well-formed texts, and those between them, to `tokens`, which it returns. */
  encode(parts: Parts, takeSpecial: boolean, tokens: number[]): Steps<number[]>
  /** The UTF-8 that a token of the model stands for. */
  bytesOf(token: number): Uint8Array
  /** By id, how the vocabulary writes each token, control tokens among them. */
  names: readonly (string | undefined)[]
  /** By the text that stands for them. */
  specialTokens: ReadonlyMap<string, number>
  /** Whether `encode` puts a space in front of the text. */
  prependsSpace: boolean
  /** The UTF-16 units of text that a token stands for at most. Infinity if there is no such limit. */
  longestToken: number
}

/** What sets one vocabulary apart from another. */
export interface VocabularyParts {
  /** By id, those that text may become, byte tokens among them if `byteFallback`. */
  pieces: readonly (string | undefined)[]
  merges: Merges
  addedTokens: readonly AddedToken[]
  /** By id, all tokens. */
  names: readonly (string | undefined)[]
  /** Whether a character that is no piece becomes its bytes. */
  byteFallback: boolean
  /** What any other character becomes that is no piece. Without it, such a character vanishes. */
  unknown?: number | undefined
  /** Whether a word has only one `unknown` where several characters in a row are no pieces. */
  fuseUnknown?: boolean
  /** The words that are tokens, whatever the merges say. */
  whole?: ReadonlyMap<string, number> | undefined
  normalizer: Normalizer
  preTokenizer: PreTokenizer
  /** The UTF-8 of a piece that is no byte token. */
  read(piece: string): Uint8Array
}

const utf8 = new TextEncoder()
const noBytes = new Uint8Array(0)

export function createVocabulary(
  { vocabSize }: TokenizerModel,
  parts: VocabularyParts,
): Vocabulary {
  const { byteFallback, unknown, normalizer, preTokenizer, read } = parts
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
    fallbackTokens: character => {
      if (byteFallback) return Array.from(utf8.encode(character), byte => byteTokens[byte]!)
      return unknown === undefined ? [] : [unknown]
    },
  })
  const { withSpecial, withoutSpecial } = findersOf(parts.addedTokens, text =>
    finish(normalizer.normalize(text)),
  )
  const textOfAdded = new Map(
    parts.addedTokens.map(({ id, content, special }) => [id, special ? '' : content]),
  )
  const [firstWord = ''] = preTokenizer.split(finish(normalizer.normalize('a')), true)
  return {
    vocabSize,
    encode: (sections, takeSpecial, tokens) =>
      encode(sections, takeSpecial ? withSpecial : withoutSpecial, parts, encoder, tokens),
    bytesOf: token => {
      const piece = pieces[token]
      if (piece !== undefined) return read(piece)
      const added = textOfAdded.get(token)
      if (added !== undefined) return utf8.encode(added)
      const byte = byteOfToken.get(token)
      return byte === undefined ? noBytes : Uint8Array.of(byte)
    },
    names: parts.names,
    specialTokens: new Map(
      parts.addedTokens.flatMap(({ special, content, id }) => (special ? [[content, id]] : [])),
    ),
    prependsSpace: read(firstWord)[0] === 0x20,
    longestToken: longestToken(pieces, parts),
  }
}

function* encode(
  sections: Parts,
  finders: AddedTokens,
  parts: VocabularyParts,
  encoder: BytePairEncoder,
  tokens: number[],
): Steps<number[]> {
  let isStart = true
  for (const section of sections) {
    if (typeof section === 'number') {
      tokens.push(section)
    } else {
      for (const text of finders.inText.split(section)) {
        if (text === '') yield ''
        else if (typeof text === 'object') tokens.push(text.id)
        else yield* encodeText(text, isStart, finders, parts, encoder, tokens)
        isStart &&= text === ''
      }
    }
    isStart &&= section === ''
  }
  return tokens
}

/** Encodes a text in which only added tokens of the normalised form are still to be found. */
function* encodeText(
  text: string,
  isStart: boolean,
  finders: AddedTokens,
  parts: VocabularyParts,
  encoder: BytePairEncoder,
  tokens: number[],
): Steps<void> {
  let isFirst = isStart
  const normalized = yield* parts.normalizer.normalize(text)
  for (const part of finders.inNormalized.split(normalized)) {
    if (part === '') yield ''
    else if (typeof part === 'object') tokens.push(part.id)
    else yield* encodeWords(parts.preTokenizer.split(part, isFirst), parts, encoder, tokens)
    isFirst &&= part === ''
  }
}

/** Characters between two places to pause, where words are short. */
const stepLength = 2048

function* encodeWords(
  words: Iterable<string>,
  { whole, unknown, fuseUnknown }: VocabularyParts,
  encoder: BytePairEncoder,
  tokens: number[],
): Steps<void> {
  let length = 0
  for (const word of words) {
    if (word === '') {
      yield ''
      continue
    }
    length += word.length
    if (length >= stepLength) {
      length = 0
      yield ''
    }
    const token = whole?.get(word)
    if (token !== undefined) {
      tokens.push(token)
    } else if (fuseUnknown) {
      const ofWord: number[] = []
      yield* encoder.encode(word, ofWord)
      for (const [i, next] of ofWord.entries()) {
        if (next !== unknown || next !== ofWord[i - 1]) tokens.push(next)
      }
    } else {
      yield* encoder.encode(word, tokens)
    }
  }
}

function longestToken(pieces: readonly (string | undefined)[], parts: VocabularyParts): number {
  const { byteFallback, unknown, fuseUnknown, addedTokens, normalizer, preTokenizer } = parts
  const unlimited = Number.POSITIVE_INFINITY
  if (addedTokens.some(({ lstrip, rstrip }) => lstrip || rstrip)) return unlimited
  const keepsCharacters = byteFallback || (unknown !== undefined && !fuseUnknown)
  if (!preTokenizer.keepsAll || !(keepsCharacters || hasAllBytes(pieces, parts))) return unlimited
  let longest = 2 // the units of a character, which may be one token
  for (const piece of pieces) longest = Math.max(longest, piece?.length ?? 0)
  for (const { content } of addedTokens) longest = Math.max(longest, content.length)
  return longest * normalizer.shrinks
}

function hasAllBytes(pieces: readonly (string | undefined)[], parts: VocabularyParts): boolean {
  const known = new Set(pieces)
  return parts.preTokenizer.isByteLevel && byteLevelCharacters.every(byte => known.has(byte))
}
