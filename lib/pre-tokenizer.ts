import { byteLevelCharacters } from './byte-level.js'
import { type HuggingFaceTokenizers, libraryParts } from './hugging-face.js'
import { metaspace } from './sentence-piece.js'
import { convertInParts, isBetweenCharacters, replaceEach } from './steps.js'
import { isJsonObject, type JsonObject } from './strict-json.js'
import { check } from './tokenizer-model.js'

/** Cuts normalised texts into the words that are encoded one by one. */
export interface PreTokenizer {
  /**
   * The words of a text, in order. An empty word is none, but a place to pause.
   *
   * @param isStart whether the text stands at the beginning of what is encoded.
   */
  split(text: string, isStart: boolean): Iterable<string>
  /** Whether every character of a text is in one of its words. */
  keepsAll: boolean
  /** Whether the words are written in the characters of {@link byteLevelCharacters}. */
  isByteLevel: boolean
}

export const noPreTokenizer: PreTokenizer = {
  split: text => [text],
  keepsAll: true,
  isByteLevel: false,
}

/** The pre-tokenizer of a tokenizer.json; those that are not known here are the library's. */
export function parsePreTokenizer(json: unknown, library: HuggingFaceTokenizers): PreTokenizer {
  if (json === undefined || json === null) return noPreTokenizer
  check(isJsonObject(json), 'pre_tokenizer', 'an object', json)
  switch (json.type) {
    case 'Sequence': {
      const steps = Array.isArray(json.pretokenizers) ? json.pretokenizers : []
      return steps.map(step => parsePreTokenizer(step, library)).reduce(inSequence, noPreTokenizer)
    }
    case 'Metaspace':
      return parseMetaspace(json)
    case 'ByteLevel':
      return parseByteLevel(json, library)
    case 'Split':
    case 'Digits':
    case 'Punctuation':
      return parsePattern(json, library)
    default:
      return fromLibrary(json, library)
  }
}

function inSequence(first: PreTokenizer, second: PreTokenizer): PreTokenizer {
  return {
    *split(text, isStart) {
      let isStartOfWord = isStart
      for (const word of first.split(text, isStart)) {
        if (word === '') yield ''
        else {
          yield* second.split(word, isStartOfWord)
          isStartOfWord = false
        }
      }
    },
    keepsAll: first.keepsAll && second.keepsAll,
    isByteLevel: first.isByteLevel || second.isByteLevel,
  }
}

function parseMetaspace(json: JsonObject): PreTokenizer {
  const replacement = json.replacement ?? metaspace
  const scheme = json.prepend_scheme ?? 'always'
  const isCharacter = typeof replacement === 'string' && Array.from(replacement).length === 1
  check(isCharacter, 'pre_tokenizer.replacement', 'one character', replacement)
  const schemes = ['always', 'first', 'never']
  check(schemes.includes(scheme as string), 'prepend_scheme', schemes.join(' or '), scheme)
  return {
    *split(text, isStart) {
      const replace = (part: string) => replaceEach(part, ' ', replacement)
      let replaced = yield* convertInParts(text, isBetweenCharacters, replace)
      const prepends = scheme === 'always' || (scheme === 'first' && isStart)
      if (prepends && !replaced.startsWith(replacement)) replaced = replacement + replaced
      if (json.split === false) yield replaced
      else yield* splitBefore(replaced, replacement)
    },
    keepsAll: true,
    isByteLevel: false,
  }
}

function* splitBefore(text: string, separator: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf(separator, start + 1)
    const end = found < 0 ? text.length : found
    yield text.slice(start, end)
    start = end
  }
}

function parseByteLevel(json: JsonObject, library: HuggingFaceTokenizers): PreTokenizer {
  const prepends = json.add_prefix_space === true
  const pattern =
    json.use_regex === false
      ? undefined
      : libraryParts(library, { pre_tokenizer: json }).pre_tokenizer?.pattern
  return {
    *split(text) {
      const spaced = prepends && !text.startsWith(' ') ? ` ${text}` : text
      for (const word of pattern ? matches(spaced, pattern) : [spaced]) {
        yield yield* convertInParts(word, isBetweenCharacters, inByteLevelCharacters)
      }
    },
    keepsAll: true,
    isByteLevel: true,
  }
}

const byteLevelUnits = byteLevelCharacters.map(character => character.charCodeAt(0))

function inByteLevelCharacters(text: string): string {
  const bytes = Buffer.from(text)
  const units = Buffer.allocUnsafe(2 * bytes.length)
  for (let i = 0; i < bytes.length; i++) units.writeUInt16LE(byteLevelUnits[bytes[i]!]!, 2 * i)
  return units.toString('utf16le')
}

/** A pre-tokenizer that is a pattern of the library, which is searched match by match. */
function parsePattern(json: JsonObject, library: HuggingFaceTokenizers): PreTokenizer {
  const pattern = libraryParts(library, { pre_tokenizer: json }).pre_tokenizer?.pattern
  const isRemoved = String(json.behavior).toLowerCase() === 'removed'
  if (!pattern || json.invert === true || isRemoved) return fromLibrary(json, library)
  return {
    split: text => (json.type === 'Split' ? matchesAndGaps(text, pattern) : matches(text, pattern)),
    keepsAll: true,
    isByteLevel: false,
  }
}

function* matches(text: string, pattern: RegExp): Generator<string> {
  for (const [match] of text.matchAll(pattern)) if (match !== '') yield match
}

function* matchesAndGaps(text: string, pattern: RegExp): Generator<string> {
  let end = 0
  for (const { index, 0: match } of text.matchAll(pattern)) {
    if (end < index) yield text.slice(end, index)
    if (match !== '') yield match
    end = index + match.length
  }
  if (end < text.length) yield text.slice(end)
}

function fromLibrary(json: JsonObject, library: HuggingFaceTokenizers): PreTokenizer {
  const { pre_tokenizer } = libraryParts(library, { pre_tokenizer: json })
  return {
    split: (text, isStart) =>
      pre_tokenizer?.pre_tokenize(text, { section_index: isStart ? 0 : 1 }) ?? [text],
    keepsAll: false,
    isByteLevel: false,
  }
}
