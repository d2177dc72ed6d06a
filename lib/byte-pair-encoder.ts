import { finish, type Steps } from './steps.js'

/** What may be merged, best first: the ids of two pieces and of the piece they make. */
export interface Merges {
  left: ArrayLike<number>
  right: ArrayLike<number>
  merged: ArrayLike<number>
}

/** What a {@link BytePairEncoder} needs to know of a vocabulary. */
export interface BytePairVocabulary {
  /** Every id is below it. */
  vocabSize: number
  /** By id, the pieces that text may become: no control tokens, no byte tokens. */
  pieces: readonly (string | undefined)[]
  /** Of those pieces alone. */
  merges: Merges
  /** The tokens that stand for a character that is no piece: its bytes, the unknown token or none. */
  fallbackTokens(character: string): readonly number[]
}

// V8 copies a slice this short; a longer one, as a key of the cache, would keep its whole text alive.
const maxCachedLength = 12
const maxCachedSpans = 16384
/** Characters, or merges, between two places to pause. */
const stepLength = 2048

/**
 * Byte-pair encoding: a word starts as its characters, and the best pair of neighbours, the leftmost
 * of equals, is merged until none is left. O(n log n) in the length of the word, whatever it holds.
 */
export class BytePairEncoder {
  readonly #fallbackTokens: BytePairVocabulary['fallbackTokens']
  readonly #vocabSize: number
  readonly #characters = new Map<string, number>()
  readonly #ranks = new Map<number, number>()
  readonly #merged: Merges['merged']
  readonly #adjacent = new Set<number>()
  readonly #cache = new Map<string, readonly number[]>()

  constructor({ vocabSize, pieces, merges, fallbackTokens }: BytePairVocabulary) {
    this.#vocabSize = vocabSize
    this.#fallbackTokens = fallbackTokens
    this.#merged = merges.merged
    const firstUnits = new Uint16Array(pieces.length)
    const lastUnits = new Uint16Array(pieces.length)
    pieces.forEach((piece, id) => {
      if (piece === undefined || piece === '') return
      if (piece.length === String.fromCodePoint(piece.codePointAt(0)!).length) {
        this.#characters.set(piece, id)
      }
      firstUnits[id] = piece.charCodeAt(0)
      lastUnits[id] = piece.charCodeAt(piece.length - 1)
    })
    const { left, right } = merges
    for (let rank = 0; rank < left.length; rank++) {
      this.#ranks.set(this.#pair(left[rank]!, right[rank]!), rank)
      this.#adjacent.add((lastUnits[left[rank]!]! << 16) | firstUnits[right[rank]!]!)
    }
  }

  /** Adds the token ids of `word`, which must be well-formed UTF-16, to `tokens`. */
  *encode(word: string, tokens: number[]): Steps<void> {
    let start = 0
    for (let end = 1; end <= word.length; end++) {
      if (end % stepLength === 0) yield ''
      if (end < word.length && this.#mayMergeAcross(word, end)) continue
      const span = word.slice(start, end)
      if (span.length > stepLength) yield* this.#merge(span, tokens)
      else for (const token of this.#encodeSpan(span)) tokens.push(token)
      start = end
    }
  }

  /** False where no merge joins pieces that end and begin like the text around `index`. */
  #mayMergeAcross(word: string, index: number): boolean {
    return this.#adjacent.has(unitsAround(word, index)) || isLowSurrogate(word.charCodeAt(index))
  }

  #encodeSpan(span: string): readonly number[] {
    const isCached = span.length <= maxCachedLength
    const known = isCached ? this.#cache.get(span) : undefined
    if (known !== undefined) return known
    const tokens: number[] = []
    finish(this.#merge(span, tokens))
    if (!isCached) return tokens
    if (this.#cache.size === maxCachedSpans) this.#cache.clear()
    this.#cache.set(span, tokens)
    return tokens
  }

  *#merge(span: string, result: number[]): Steps<void> {
    let steps = 0
    const pauses = () => ++steps % stepLength === 0
    const tokens: number[] = []
    for (const character of span) {
      const id = this.#characters.get(character)
      if (id !== undefined) tokens.push(id)
      else for (const token of this.#fallbackTokens(character)) tokens.push(token)
      if (pauses()) yield ''
    }
    const end = tokens.length
    const next = new Int32Array(end)
    const previous = new Int32Array(end)
    const rankAt = (i: number) =>
      next[i]! < end ? this.#ranks.get(this.#pair(tokens[i]!, tokens[next[i]!]!)) : undefined
    const queue = new MergeQueue()
    const offer = (i: number) => {
      const rank = rankAt(i)
      if (rank !== undefined) queue.push(rank, i)
    }
    for (let i = 0; i < end; i++) {
      next[i] = i + 1
      previous[i] = i - 1
      offer(i)
      if (pauses()) yield ''
    }
    for (let merge = queue.pop(); merge !== undefined; merge = queue.pop()) {
      if (pauses()) yield ''
      const { rank, index } = merge
      // Its tokens may have been merged with others since it was offered.
      if (rankAt(index) !== rank) continue
      const right = next[index]!
      tokens[index] = this.#merged[rank]!
      tokens[right] = mergedAway
      next[index] = next[right]!
      if (next[index]! < end) previous[next[index]!] = index
      if (index > 0) offer(previous[index]!)
      offer(index)
    }
    // The left one of two that are merged stays, so the first one always does.
    for (let i = 0; i < end; i = next[i]!) {
      result.push(tokens[i]!)
      if (pauses()) yield ''
    }
  }

  #pair(left: number, right: number): number {
    return left * this.#vocabSize + right
  }
}

// No pair with it has a rank.
const mergedAway = -1

function unitsAround(text: string, index: number): number {
  return (text.charCodeAt(index - 1) << 16) | text.charCodeAt(index)
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}

// More than the bytes of the longest string that V8 can hold; leaves 22 bits for the rank.
const maxIndices = 2 ** 31

/** A binary min-heap of merges, by rank and then by index; each is one number, which sorts the same. */
class MergeQueue {
  readonly #heap: number[] = []

  push(rank: number, index: number): void {
    const heap = this.#heap
    const key = rank * maxIndices + index
    let i = heap.length
    heap.push(key)
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (heap[parent]! <= key) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = key
  }

  pop(): { rank: number; index: number } | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined) return undefined
    const key = heap.pop()!
    const length = heap.length
    if (length > 0) {
      let i = 0
      for (let child = 1; child < length; child = 2 * i + 1) {
        if (child + 1 < length && heap[child + 1]! < heap[child]!) child++
        if (heap[child]! >= key) break
        heap[i] = heap[child]!
        i = child
      }
      heap[i] = key
    }
    return { rank: Math.floor(first / maxIndices), index: first % maxIndices }
  }
}
