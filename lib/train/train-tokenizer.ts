import { byteLevelCharacters } from '../byte-level.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import { abortSignal, callback, integer, optional, type RulesOf, readOptions } from '../options.js'
import { finishInSlices, type Steps } from '../steps.js'
import { PairQueue } from './pair-queue.js'

/** What a text is cut into before pairs are merged: the pattern of GPT-2's byte-level tokenizer. */
const wordPattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/** BOS and EOS have the ids that OpenELM's have. */
const controlTokens = ['<unk>', '<s>', '</s>']
const smallestVocabulary = controlTokens.length + byteLevelCharacters.length

/** A word of the corpus as ids, and how often it occurs. */
interface Word {
  ids: number[]
  count: number
}

/** Options of {@link trainTokenizer}. */
export interface TrainTokenizerOptions {
  /** Aborting rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** Called now and then with the tokens learned so far and asked for; fewer may be found. */
  onProgress?: ((tokens: number, vocabSize: number) => void) | undefined
}

const rules = {
  signal: optional(abortSignal),
  onProgress: optional(callback<NonNullable<TrainTokenizerOptions['onProgress']>>()),
} satisfies RulesOf<TrainTokenizerOptions>

/**
 * Learns a byte-level BPE vocabulary: beginning with the 256 bytes, the pair of neighbours that occurs
 * most often becomes a token, again and again. Pairs that occur once are not worth one, so a small
 * corpus may give fewer tokens than asked for. The event loop turns every few milliseconds meanwhile.
 *
 * @param vocabSize tokens, from 259 (the bytes and three control tokens) to 2^20.
 * @returns what a tokenizer.json holds.
 * @throws OpenELMError INVALID_ARGUMENT, INVALID_DATA when there is no text; or the reason of
 *   `options.signal`.
 */
export async function trainTokenizer(
  documents: Iterable<string>,
  vocabSize: number,
  options?: TrainTokenizerOptions,
): Promise<object> {
  integer(smallestVocabulary, 2 ** 20)('vocabSize', vocabSize)
  if (typeof documents === 'string' || typeof documents?.[Symbol.iterator] !== 'function') {
    throw invalidArgument('documents', 'texts', documents)
  }
  const { signal, onProgress } = readOptions(options, rules)
  signal?.throwIfAborted()
  return finishInSlices(learn(documents, vocabSize, onProgress), signal)
}

function* learn(
  documents: Iterable<string>,
  vocabSize: number,
  onProgress: TrainTokenizerOptions['onProgress'],
): Steps<object> {
  const pieces = [...controlTokens, ...byteLevelCharacters]
  const words = yield* countWords(documents)
  if (words.length === 0) throw new OpenELMError('INVALID_DATA', 'there is no text to learn from')
  const pairs = new PairIndex(words)
  yield* pairs.countAll()
  const merges: [string, string][] = []
  while (pieces.length < vocabSize) {
    const pair = pairs.takeMostFrequent()
    if (pair === undefined) break
    const [left, right] = pair
    merges.push([pieces[left]!, pieces[right]!])
    yield* pairs.merge(left, right, pieces.length)
    pieces.push(pieces[left]! + pieces[right]!)
    if (pieces.length % 16 === 0 || pieces.length === vocabSize) {
      onProgress?.(pieces.length, vocabSize)
    }
    yield ''
  }
  return tokenizerJson(pieces, merges)
}

function* countWords(documents: Iterable<string>): Steps<Word[]> {
  const counts = new Map<string, number>()
  for (const document of documents) {
    if (typeof document !== 'string') throw invalidArgument('documents', 'texts', document)
    let words = 0
    for (const [word] of document.normalize('NFC').matchAll(wordPattern)) {
      counts.set(word, (counts.get(word) ?? 0) + 1)
      if (++words % 1024 === 0) yield ''
    }
    yield ''
  }
  const words: Word[] = []
  for (const [word, count] of counts) {
    words.push({ ids: Array.from(Buffer.from(word), byte => controlTokens.length + byte), count })
    if (words.length % 1024 === 0) yield ''
  }
  return words
}

/** How often each pair of neighbours occurs, and in which words. */
class PairIndex {
  readonly #words: readonly Word[]
  readonly #counts = new Map<number, number>()
  readonly #places = new Map<number, Set<number>>()
  /** Every pair with the count that it had when it was put there, or a lower one since. */
  readonly #queue = new PairQueue()

  constructor(words: readonly Word[]) {
    this.#words = words
  }

  *countAll(): Steps<void> {
    for (const index of this.#words.keys()) {
      this.#count(index, 1)
      if (index % 1024 === 0) yield ''
    }
    for (const [key, count] of this.#counts) {
      this.#queue.push(count, key)
      if (this.#queue.length % 1024 === 0) yield ''
    }
  }

  /** Of equally frequent pairs, the one of the oldest tokens; undefined when each is there once. */
  takeMostFrequent(): [number, number] | undefined {
    for (let entry = this.#queue.pop(); entry !== undefined; entry = this.#queue.pop()) {
      const count = this.#counts.get(entry.key) ?? 0
      if (count < 2) continue
      if (count === entry.count) return [Math.floor(entry.key / keyBase), entry.key % keyBase]
      // Merges have taken some of its places since. A count grows only while its pair is new.
      this.#queue.push(count, entry.key)
    }
    return undefined
  }

  *merge(left: number, right: number, merged: number): Steps<void> {
    const grown = new Set<number>()
    let words = 0
    for (const index of this.#places.get(left * keyBase + right) ?? []) {
      this.#count(index, -1)
      const ids = mergePair(this.#words[index]!.ids, left, right, merged)
      this.#words[index]!.ids = ids
      this.#count(index, 1)
      for (let i = 0; i + 1 < ids.length; i++) {
        if (ids[i] === merged || ids[i + 1] === merged) grown.add(ids[i]! * keyBase + ids[i + 1]!)
      }
      if (++words % 256 === 0) yield ''
    }
    this.#places.delete(left * keyBase + right)
    for (const key of grown) this.#queue.push(this.#counts.get(key)!, key)
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
