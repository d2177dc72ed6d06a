import { SingleBar } from 'cli-progress'
import { formatBytes } from './format.js'

/** False for a dumb terminal, which would show the codes that move its cursor as text. */
export const canDrawBars = process.env.TERM !== 'dumb'

/** A progress bar on stderr, removed when it is disposed. Draws nothing where stderr is no terminal. */
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

  /** Draws the bar. Can be given to the library as `onProgress`. */
  readonly update = (done: number, total: number): void => {
    if (!canDrawBars) return
    if (!this.#bar.isActive) this.#bar.start(total, done)
    this.#bar.update(done)
  };

  [Symbol.dispose](): void {
    this.#bar.stop()
  }
}
