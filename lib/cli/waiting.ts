import { canDrawBars } from './progress.js'

/** Shorter waits are not worth a line. */
const delayMs = 300

/** A line on stderr while something of unknown length goes on; none where a bar cannot be drawn. */
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

  /** Takes the line away. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    if (this.#isShown) process.stderr.write('\r\x1b[K')
    this.#isShown = false
  }
}
