import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, writeWhole } from '../files.js'
import { type LossPoint, lossCurve } from './loss-curve.js'

/** The steps of a run in the directory of its checkpoints: `log.jsonl`, with one JSON object a line. */
export class TrainingLog {
  readonly #out: string
  readonly #steps: LossPoint[]

  private constructor(out: string, steps: LossPoint[]) {
    this.#out = out
    this.#steps = steps
  }

  /**
   * Goes on with the log of a run, or begins one. Steps from `firstStep` on are taken out: a run that is
   * resumed from a checkpoint takes them again.
   *
   * @param out the directory that `train` writes to, which must exist.
   * @param firstStep the number of the step that will be added first.
   * @throws OpenELMError IO_ERROR
   */
  static async open(out: string, firstStep: number): Promise<TrainingLog> {
    const log = new TrainingLog(out, [])
    const old = await readFile(log.#file, 'utf8').catch(cause => {
      if (cause.code === 'ENOENT') return ''
      throw ioError('read', log.#file, cause)
    })
    for (const step of old.split('\n').map(parseStep)) {
      if (step !== undefined && step.step < firstStep) log.#steps.push(step)
    }
    await writeWhole(
      log.#file,
      log.#steps.map(step => Buffer.from(`${JSON.stringify(step)}\n`)),
    )
    return log
  }

  get #file(): string {
    return join(this.#out, 'log.jsonl')
  }

  /**
   * Appends a step.
   *
   * @throws OpenELMError IO_ERROR
   */
  async add(step: LossPoint): Promise<void> {
    this.#steps.push(step)
    await appendFile(this.#file, `${JSON.stringify(step)}\n`).catch(cause => {
      throw ioError('write', this.#file, cause)
    })
  }

  /** The step after which the validation loss was lowest, if it was ever measured. */
  get lowestValidation(): { step: number; loss: number } | undefined {
    let lowest: { step: number; loss: number } | undefined
    for (const { step, validationLoss: loss } of this.#steps) {
      if (loss !== undefined && (!lowest || loss < lowest.loss)) lowest = { step, loss }
    }
    return lowest
  }

  /**
   * Draws the training and validation losses of all steps so far as `loss.svg`.
   *
   * @throws OpenELMError IO_ERROR
   */
  async drawCurve(): Promise<void> {
    await writeWhole(join(this.#out, 'loss.svg'), [Buffer.from(lossCurve(this.#steps))])
  }
}

/** Undefined for what is no step: a kill can leave the last line incomplete. */
export function parseStep(line: string): LossPoint | undefined {
  try {
    const step = JSON.parse(line)
    return typeof step?.step === 'number' ? step : undefined
  } catch {
    return undefined
  }
}
