import { byteLevelCharacters } from '../byte-level.js'
import { invalidArgument, OpenELMError } from '../errors.js'

/** What a text is cut into before pairs are merged: the pattern of GPT-2's byte-level tokenizer. */
const wordPattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/** BOS and EOS have the ids that OpenELM's have. */
const controlTokens = ['<unk>', '<s>', '</s>']

/** A word of the corpus as ids, and how often it occurs. */
interface Word {
  ids: number[]
  count: number
}

/**
 * Learns a byte-level BPE vocabulary: beginning with the 256 bytes, the pair of neighbours that occurs
 * most often becomes a token, again and again. Pairs that occur once are not worth one, so a small
 * corpus may give fewer tokens than asked for.
 *
 * @param vocabSize tokens, from 259 (the bytes and three control tokens) up.
 * @returns what a tokenizer.json holds.
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA when there is no text.
 */
export function trainTokenizer(documents: Iterable<string>, vocabSize: number): object {
  const smallest = controlTokens.length + byteLevelCharacters.length
  if (!Number.isInteger(vocabSize) || vocabSize < smallest) {
    throw invalidArgument('vocabSize', `an integer from ${smallest} up`, vocabSize)
  }
  if (typeof documents === 'string' || typeof documents?.[Symbol.iterator] !== 'function') {
    throw invalidArgument('documents', 'texts', documents)
  }
  const pieces = [...controlTokens, ...byteLevelCharacters]
  const words = countWords(documents)
  if (words.length === 0) throw new OpenELMError('INVALID_DATA', 'there is no text to learn from')
  const pairs = new PairIndex(words)
  const merges: [string, string][] = []
  while (pieces.length < vocabSize) {
    const pair = pairs.mostFrequent()
    if (pair === undefined) break
    const [left, right] = pair
    merges.push([pieces[left]!, pieces[right]!])
    pairs.merge(left, right, pieces.length)
    pieces.push(pieces[left]! + pieces[right]!)
  }
  return tokenizerJson(pieces, merges)
}

function countWords(documents: Iterable<string>): Word[] {
  const counts = new Map<string, number>()
  for (const document of documents) {
    if (typeof document !== 'string') throw invalidArgument('documents', 'texts', document)
    for (const [word] of document.normalize('NFC').matchAll(wordPattern)) {
      counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  return Array.from(counts, ([word, count]) => {
    return { ids: Array.from(Buffer.from(word), byte => controlTokens.length + byte), count }
  })
}

/** How often each pair of neighbours occurs, and in which words. */
class PairIndex {
  readonly #words: readonly Word[]
  readonly #counts = new Map<number, number>()
  readonly #places = new Map<number, Set<number>>()

  constructor(words: readonly Word[]) {
    this.#words = words
    for (const index of words.keys()) this.#count(index, 1)
  }

  /** Of equally frequent pairs, the one of the oldest tokens. */
  mostFrequent(): [number, number] | undefined {
    let best = -1
    let bestCount = 1
    for (const [key, count] of this.#counts) {
      if (count > bestCount || (count === bestCount && key < best)) {
        best = key
        bestCount = count
      }
    }
    return best < 0 ? undefined : [Math.floor(best / keyBase), best % keyBase]
  }

  merge(left: number, right: number, merged: number): void {
    for (const index of this.#places.get(left * keyBase + right) ?? []) {
      this.#count(index, -1)
      this.#words[index]!.ids = mergePair(this.#words[index]!.ids, left, right, merged)
      this.#count(index, 1)
    }
    this.#places.delete(left * keyBase + right)
  }

  /** Adds the pairs of a word, or takes them away. A place stays listed, which does no harm. */
  #count(index: number, sign: 1 | -1): void {
    const { ids, count } = this.#words[index]!
    for (let i = 0; i + 1 < ids.length; i++) {
      const key = ids[i]! * keyBase + ids[i + 1]!
      const total = (this.#counts.get(key) ?? 0) + sign * count
      if (total === 0) this.#counts.delete(key)
      else this.#counts.set(key, total)
      if (sign < 0) continue
      const places = this.#places.get(key)
      if (places) places.add(index)
      else this.#places.set(key, new Set([index]))
    }
  }
}

const keyBase = 2 ** 21

function mergePair(ids: readonly number[], left: number, right: number, merged: number): number[] {
  const result: number[] = []
  for (let i = 0; i < ids.length; i++) {
    const isPair = ids[i] === left && ids[i + 1] === right
    result.push(isPair ? merged : ids[i]!)
    if (isPair) i++
  }
  return result
}

function tokenizerJson(pieces: readonly string[], merges: readonly [string, string][]): object {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: controlTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: merges.map(pair => pair.join(' ')),
    },
  }
}
