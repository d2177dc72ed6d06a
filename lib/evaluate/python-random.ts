const numWords = 624
const middle = 397

/**
 * The generator of Python's `random` module (MT19937), with those of its functions by which
 * lm-evaluation-harness chooses examples: the same seed gives the same numbers, draws and orders.
 */
export class PythonRandom {
  readonly #state = new Uint32Array(numWords)
  #index = numWords

  /** @param seed an integer from 0 to 2^32 - 1. */
  constructor(seed: number) {
    const state = this.#state
    state[0] = 19650218
    for (let i = 1; i < numWords; i++) state[i] = Math.imul(1812433253, shifted(state[i - 1]!)) + i
    let i = 1
    const advance = () => {
      if (++i < numWords) return
      state[0] = state[numWords - 1]!
      i = 1
    }
    for (let n = 0; n < numWords; n++) {
      state[i] = (state[i]! ^ Math.imul(shifted(state[i - 1]!), 1664525)) + seed
      advance()
    }
    for (let n = 1; n < numWords; n++) {
      state[i] = (state[i]! ^ Math.imul(shifted(state[i - 1]!), 1566083941)) - i
      advance()
    }
    state[0] = 0x80000000
  }

  /** `getrandbits`: an integer below 2^`count`, with `count` from 1 to 32. */
  bits(count: number): number {
    if (this.#index === numWords) this.#renew()
    let word = this.#state[this.#index++]!
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    word ^= word >>> 18
    return word >>> (32 - count)
  }

  /** An integer below `end`, which is at least 1. */
  below(end: number): number {
    const count = 32 - Math.clz32(end)
    let drawn = this.bits(count)
    while (drawn >= end) drawn = this.bits(count)
    return drawn
  }

  /** `sample(range(size), count)`: distinct integers below `size`, in the order they were drawn. */
  sample(size: number, count: number): number[] {
    if (size <= listLimit(count)) {
      const left = Array.from({ length: size }, (_, i) => i)
      return Array.from({ length: count }, (_, i) => {
        const at = this.below(size - i)
        const drawn = left[at]!
        left[at] = left[size - i - 1]!
        return drawn
      })
    }
    const drawn = new Set<number>()
    while (drawn.size < count) drawn.add(this.below(size))
    return [...drawn]
  }

  /** `shuffle`, of a copy. */
  shuffle<Item>(items: readonly Item[]): Item[] {
    const shuffled = [...items]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const other = this.below(i + 1)
      const item = shuffled[i]!
      shuffled[i] = shuffled[other]!
      shuffled[other] = item
    }
    return shuffled
  }

  #renew(): void {
    const state = this.#state
    for (let i = 0; i < numWords; i++) {
      const word = (state[i]! & 0x80000000) | (state[(i + 1) % numWords]! & 0x7fffffff)
      const twist = (word & 1) === 1 ? 0x9908b0df : 0
      state[i] = state[(i + middle) % numWords]! ^ (word >>> 1) ^ twist
    }
    this.#index = 0
  }
}

function shifted(word: number): number {
  return word ^ (word >>> 30)
}

/** The largest population that Python's `sample` keeps as a list; it draws from others with a set. */
function listLimit(count: number): number {
  let limit = 1
  while (count > 5 && limit < count * 3) limit *= 4
  return count > 5 ? 21 + limit : 21
}
