import { canDrawBars } from './progress.js'

/** A wait that is shorter than this shows no line. */
const delayMs = 300

/** A line on stderr during work of unknown length; none where stderr is no terminal. */
export class Waiting {
  readonly #timer: NodeJS.Timeout
  #isShown = false

  constructor(title: string) {
    this.#timer = setTimeout(() => {
      if (!canDrawBars || !process.stderr.isTTY) return
      process.stderr.write(`${title} …`)
      this.#isShown = true
    }, delayMs)
  }

  /** Removes the line. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    if (this.#isShown) process.stderr.write('\r\x1b[K')
    this.#isShown = false
  }
}
