import { SingleBar } from 'cli-progress'
import type { TrainStep } from '../train/train-step.js'
import { canDrawBars } from './progress.js'

/** A bar on stderr with the loss and the time left; nothing at all where stderr is not a terminal. */
export class TrainingProgress {
  readonly #bar = new SingleBar({
    format: 'Training {bar} step {value} of {total}, loss {loss}, {speed} tokens/s, {left} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    clearOnComplete: true,
    linewrap: true,
    stream: process.stderr,
  })

  update({ step, steps, loss, tokens, tokensPerSecond }: TrainStep): void {
    if (!canDrawBars) return
    const secondsLeft = ((steps - step) * tokens) / step / tokensPerSecond
    const payload = {
      loss: loss.toFixed(4),
      speed: tokensPerSecond.toFixed(0),
      left: formatDuration(secondsLeft),
    }
    if (!this.#bar.isActive) this.#bar.start(steps, step, payload)
    this.#bar.update(step, payload)
  }

  [Symbol.dispose](): void {
    this.#bar.stop()
  }
}

function formatDuration(seconds: number): string {
  const minutes = Math.round(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
