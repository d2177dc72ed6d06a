/** A pair of tokens, as one number, and how often it occurs. */
interface Entry {
  readonly count: number
  readonly key: number
}

/** A binary heap of pairs: the most frequent first, and of equals the one with the lowest key. */
export class PairQueue {
  readonly #heap: Entry[] = []

  get length(): number {
    return this.#heap.length
  }

  push(count: number, key: number): void {
    const heap = this.#heap
    const entry = { count, key }
    let i = heap.length
    heap.push(entry)
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!precedes(entry, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = entry
  }

  pop(): Entry | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined) return undefined
    const last = heap.pop()!
    const { length } = heap
    if (length === 0) return first
    let i = 0
    for (let child = 1; child < length; child = 2 * i + 1) {
      if (child + 1 < length && precedes(heap[child + 1]!, heap[child]!)) child++
      if (!precedes(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}

function precedes(a: Entry, b: Entry): boolean {
  return a.count > b.count || (a.count === b.count && a.key < b.key)
}
