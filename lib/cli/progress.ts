import { SingleBar } from 'cli-progress'
import { formatBytes } from './format.js'

/** Whether a bar can be drawn: a dumb terminal shows the codes that move its cursor as text. */
export const canDrawBars = process.env.TERM !== 'dumb'

/** A bar on stderr that counts, and leaves no trace; nothing at all where that cannot be drawn. */
export class Progress {
  readonly #bar: SingleBar

  constructor(
    title: string,
    format: (count: number) => string = formatBytes,
    { timeLeft = false } = {},
  ) {
    this.#bar = new SingleBar({
      format: `${title} {bar} {percentage}% {value} of {total}${timeLeft ? ', {eta_formatted} left' : ''}`,
      formatValue: (value, _, type) => {
        return type === 'value' || type === 'total' ? format(value) : `${value}`
      },
      barCompleteChar: '█',
      barIncompleteChar: '░',
      clearOnComplete: true,
      linewrap: true,
      stream: process.stderr,
    })
  }

  /** Draws the bar; the shape of `onProgress` of the library. */
  readonly update = (done: number, total: number): void => {
    if (!canDrawBars) return
    if (!this.#bar.isActive) this.#bar.start(total, done)
    this.#bar.update(done)
  };

  [Symbol.dispose](): void {
    this.#bar.stop()
  }
}
