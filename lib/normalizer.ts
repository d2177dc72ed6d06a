import { type HuggingFaceTokenizers, libraryParts } from './hugging-face.js'
import { convertInParts, isBetweenCharacters, replaceEach, type Steps } from './steps.js'
import { isJsonObject, type JsonObject } from './strict-json.js'
import { check } from './tokenizer-model.js'

/** Brings a text into the form in which it is encoded. */
export interface Normalizer {
  normalize(text: string): Steps<string>
  /** A text gets at most this many times shorter, in UTF-16 units. Infinity if anything may vanish. */
  shrinks: number
}

export const noNormalizer: Normalizer = {
  // biome-ignore lint/correctness/useYield: there is nothing to do, so there is no place to pause
  *normalize(text) {
    return text
  },
  shrinks: 1,
}

/** The normalizer of a tokenizer.json; those that are not known here are the library's. */
export function parseNormalizer(json: unknown, library: HuggingFaceTokenizers): Normalizer {
  if (json === undefined || json === null) return noNormalizer
  check(isJsonObject(json), 'normalizer', 'an object', json)
  if (json.type === 'Sequence' && Array.isArray(json.normalizers)) {
    return inSequence(json.normalizers.map(step => parseNormalizer(step, library)))
  }
  return parsePrepend(json) ?? parseReplace(json) ?? parseForm(json) ?? fromLibrary(json, library)
}

function inSequence(steps: readonly Normalizer[]): Normalizer {
  return {
    *normalize(text) {
      let normalized = text
      for (const step of steps) normalized = yield* step.normalize(normalized)
      return normalized
    },
    shrinks: steps.reduce((product, { shrinks }) => product * shrinks, 1),
  }
}

function parsePrepend({ type, prepend }: JsonObject): Normalizer | undefined {
  if (type !== 'Prepend' || typeof prepend !== 'string') return undefined
  return {
    // biome-ignore lint/correctness/useYield: this takes no time
    *normalize(text) {
      return text === '' ? text : prepend + text
    },
    shrinks: 1,
  }
}

/** The replacement of one character. */
function parseReplace({ type, pattern, content }: JsonObject): Normalizer | undefined {
  const replaced = isJsonObject(pattern) ? pattern.String : undefined
  if (type !== 'Replace' || typeof replaced !== 'string' || typeof content !== 'string') return
  if (Array.from(replaced).length !== 1) return undefined
  return {
    normalize: text =>
      convertInParts(text, isBetweenCharacters, part => replaceEach(part, replaced, content)),
    shrinks: content.length < replaced.length ? Number.POSITIVE_INFINITY : 1,
  }
}

const forms = ['NFC', 'NFD', 'NFKC', 'NFKD']

/**
 * Characters that no form of Unicode joins with what stands in front of them: Latin and Cyrillic
 * letters, ASCII, kana, Chinese characters and Korean syllables.
 */
export const startsAnew =
  /[\0-\u02ff\u0400-\u0482\u048a-\u052f\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]/

function parseForm({ type }: JsonObject): Normalizer | undefined {
  if (!forms.includes(type as string)) return undefined
  const isBorder = (text: string, index: number) => startsAnew.test(text[index]!)
  return {
    normalize: text => convertInParts(text, isBorder, part => part.normalize(type as string)),
    // One character can be composed of four, and is written as up to four.
    shrinks: 4,
  }
}

function fromLibrary(json: JsonObject, library: HuggingFaceTokenizers): Normalizer {
  const { normalizer } = libraryParts(library, { normalizer: json })
  return {
    // biome-ignore lint/correctness/useYield: the library takes the text as a whole
    *normalize(text) {
      return normalizer === null ? text : normalizer.normalize(text)
    },
    shrinks: Number.POSITIVE_INFINITY,
  }
}
