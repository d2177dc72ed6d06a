import { SingleBar } from 'cli-progress'
import type { TrainStep } from '../train/index.js'
import { formatCount } from './format.js'
import { canDrawBars, Progress } from './progress.js'
import { Waiting } from './waiting.js'

type Progressed = Pick<TrainStep, 'step' | 'steps' | 'loss' | 'tokens' | 'tokensPerSecond'>

/** The progress of a training on stderr, with the loss and the time left. */
export class TrainingProgress {
  #waiting = new Waiting('Preparing the first step')
  readonly #learning = new Progress('Learning a vocabulary', formatCount)
  readonly #bar = new SingleBar({
    format: 'Training {bar} step {value} of {total}, loss {loss}, {speed} tokens/s, {left} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    clearOnComplete: true,
    linewrap: true,
    stream: process.stderr,
  })

  /** Draws the bar of the vocabulary. Can be given to the library as `onTokenizerProgress`. */
  readonly learn = (tokens: number, vocabSize: number): void => {
    this.#waiting[Symbol.dispose]()
    this.#learning.update(tokens, vocabSize)
    if (tokens < vocabSize) return
    this.#learning[Symbol.dispose]()
    this.#waiting = new Waiting('Preparing the first step')
  }

  update({ step, steps, loss, tokens, tokensPerSecond }: Progressed): void {
    this.#endPreparations()
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

  #endPreparations(): void {
    this.#waiting[Symbol.dispose]()
    this.#learning[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#endPreparations()
    this.#bar.stop()
  }
}

function formatDuration(seconds: number): string {
  const minutes = Math.round(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
