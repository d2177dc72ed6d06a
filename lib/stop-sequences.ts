/**
 * Looks for stop sequences in text that comes in pieces, and holds back what may be the beginning of
 * one until it is known not to be.
 */
export class StopSequences {
  readonly #sequences: readonly string[]
  #held = ''
  /** Whether a stop sequence has come. */
  found = false

  constructor(sequences: readonly string[]) {
    this.#sequences = sequences
  }

  /** The text that is now known to stand before any stop sequence. */
  push(text: string): string {
    const all = this.#held + text
    const starts = this.#sequences.map(stop => all.indexOf(stop)).filter(index => index >= 0)
    this.found = starts.length > 0
    const end = this.found ? Math.min(...starts) : all.length - this.#heldLength(all)
    this.#held = this.found ? '' : all.slice(end)
    return all.slice(0, end)
  }

  /** What is held back when no more text comes. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }

  /** The longest end of the text that begins a stop sequence. */
  #heldLength(text: string): number {
    const longest = Math.max(0, ...this.#sequences.map(stop => stop.length - 1))
    for (let length = Math.min(longest, text.length); length > 0; --length) {
      const end = text.slice(-length)
      if (this.#sequences.some(stop => stop.startsWith(end))) return length
    }
    return 0
  }
}
