import { OpenELMError } from '../errors.js'
import { readBytes, withFile, writeWhole } from '../files.js'
import { path } from '../options.js'
import { type LossPoint, lossCurve } from './loss-curve.js'
import { parseStep } from './training-log.js'

/**
 * Draws the losses in the log of a training over its steps: of `log.jsonl`, or of what CoreNet prints,
 * such as the training_logs.txt that Apple published. Steps that a resumed run took again count once.
 * CoreNet prints means since its epoch began, so its curve falls later than the loss did.
 *
 * @param log the file to read.
 * @param out the SVG to write; replaced if it is there.
 * @returns how many steps the log has.
 * @throws OpenELMError INVALID_ARGUMENT, IO_ERROR, INVALID_DATA when there is no step in the log.
 */
export async function plotLog(log: string, out: string): Promise<number> {
  path('log', log)
  path('out', out)
  const steps = await readSteps(log)
  if (steps.length === 0) {
    throw new OpenELMError('INVALID_DATA', `${log}: there is no line with the loss of a step`)
  }
  await writeWhole(out, [Buffer.from(lossCurve(steps))])
  return steps.length
}

const maxLogBytes = 2 ** 28
const maxLineLength = 4096

async function readSteps(log: string): Promise<LossPoint[]> {
  const bytes = await withFile(log, (handle, size) => {
    if (size > maxLogBytes) {
      const message = `${log}: expected at most ${maxLogBytes} bytes, received ${size}`
      throw new OpenELMError('INVALID_DATA', message)
    }
    return readBytes(handle, log, 0, size)
  })
  const steps: LossPoint[] = []
  let isValidation = false
  for (const line of bytes.toString().split('\n')) {
    if (line.length > maxLineLength) continue
    if (line.includes(' Validation epoch ')) isValidation = true
    if (line.includes('*** Validation')) isValidation = false
    const step = parseStep(line) ?? (isValidation ? undefined : parseCoreNetLine(line))
    if (step === undefined || !Number.isFinite(step.loss)) continue
    while (steps.length > 0 && steps.at(-1)!.step >= step.step) steps.pop()
    steps.push(step)
  }
  return steps
}

/**
 * For example `Epoch:   0 [     500/  350000], loss: {'total_loss': 7.3, 'ce_loss': 7.2, 'z_loss': 0.1}`
 * between a time and the learning rate; a loss that is one number stands there without braces.
 */
function parseCoreNetLine(line: string): LossPoint | undefined {
  const [, step, loss] =
    line.match(/\bEpoch: +\d+ \[ *(\d+)\/ *\d+\],.* loss: (\{[^}]*\}|[^,]+)/) ?? []
  if (step === undefined || loss === undefined) return undefined
  const [, part = loss] =
    loss.match(/'ce_loss': ([^,}]+)/) ?? loss.match(/'total_loss': ([^,}]+)/) ?? []
  return { step: Number(step), loss: Number(part) }
}
