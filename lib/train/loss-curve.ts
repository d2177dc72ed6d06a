import type { TrainStep } from './train-step.js'

const width = 800
const height = 400
const margin = 50
const maxPoints = 400

type Point = [step: number, loss: number]

/** What a curve shows of a step. */
export type LossPoint = Pick<TrainStep, 'step' | 'loss' | 'validationLoss'>

/** An SVG of the loss over the steps: the training loss as a line, the validation loss as dots. */
export function lossCurve(steps: readonly LossPoint[]): string {
  const training = smooth(steps.map(({ step, loss }) => [step, loss]))
  const validation = steps
    .filter(({ validationLoss }) => validationLoss !== undefined)
    .map(({ step, validationLoss }): Point => [step, validationLoss!])
  const losses = [...training, ...validation].map(([, loss]) => loss)
  const top = Math.ceil(Math.max(...losses))
  const bottom = Math.min(Math.floor(Math.min(...losses)), top - 1)
  const last = steps.at(-1)?.step ?? 1
  const x = (step: number) => margin + ((width - 2 * margin) * step) / last
  const y = (loss: number) => margin + ((height - 2 * margin) * (top - loss)) / (top - bottom)
  const at = ([step, loss]: Point) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`

  const ticks = Array.from({ length: top - bottom + 1 }, (_, i) => bottom + i)
  const text = (x: number, y: number, anchor: string, content: string | number) =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${content}</text>`
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>The loss of a training run</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...ticks.map(loss => `<path d="M${at([0, loss])} H${width - margin}" stroke="#ddd"/>`),
    ...ticks.map(loss => text(margin - 8, y(loss) + 4, 'end', loss)),
    text(margin, height - margin + 20, 'middle', 0),
    text(width - margin, height - margin + 20, 'middle', last),
    text(width / 2, height - 10, 'middle', 'step'),
    text(margin, margin - 20, 'start', 'cross-entropy: line training, dots validation'),
    `<polyline points="${training.map(at).join(' ')}" fill="none" stroke="#369"/>`,
    ...validation.map(point => {
      const [cx, cy] = at(point).split(',')
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="#c33"/>`
    }),
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}

/** Means of runs of neighbours, so that a long training is no thicker than the line. */
function smooth(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / maxPoints)
  const means: Point[] = []
  for (let i = 0; i < points.length; i += size) {
    const run = points.slice(i, i + size)
    const sum = run.reduce((sum, [, loss]) => sum + loss, 0)
    means.push([run.at(-1)![0], sum / run.length])
  }
  return means
}
