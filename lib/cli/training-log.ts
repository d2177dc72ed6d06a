import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, writeWhole } from '../files.js'
import type { TrainStep } from '../train/train-step.js'
import { lossCurve } from './loss-curve.js'

/** The steps of a run, one JSON object in each line of log.jsonl. */
export class TrainingLog {
  readonly #out: string
  readonly #steps: TrainStep[]

  private constructor(out: string, steps: TrainStep[]) {
    this.#out = out
    this.#steps = steps
  }

  /** Forgets the steps from `firstStep` on: a run resumed from a checkpoint takes them again. */
  static async open(out: string, firstStep: number): Promise<TrainingLog> {
    const old = await readFile(join(out, 'log.jsonl'), 'utf8').catch(() => '')
    const steps = old
      .split('\n')
      .map(parseStep)
      .filter(step => step !== undefined)
      .filter(({ step }) => step < firstStep)
    const log = new TrainingLog(out, steps)
    await writeWhole(
      log.#file,
      steps.map(step => Buffer.from(`${JSON.stringify(step)}\n`)),
    )
    return log
  }

  get #file(): string {
    return join(this.#out, 'log.jsonl')
  }

  async add(step: TrainStep): Promise<void> {
    this.#steps.push(step)
    await appendFile(this.#file, `${JSON.stringify(step)}\n`).catch(cause => {
      throw ioError('write', this.#file, cause)
    })
  }

  async drawCurve(): Promise<void> {
    await writeWhole(join(this.#out, 'loss.svg'), [Buffer.from(lossCurve(this.#steps))])
  }
}

/** A kill can leave the last line incomplete. */
function parseStep(line: string): TrainStep | undefined {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
