const width = 800
const height = 480
const margin = { left: 60, right: 190, top: 30, bottom: 50 }
const colors = ['#1b6ca8', '#c8102e', '#2e8540', '#8a4fbf', '#c77700', '#007c7c', '#7a5230', '#555']

/** One score of several checkpoints, in percent. */
export interface ScoreSeries {
  readonly label: string
  readonly points: readonly (readonly [step: number, percent: number])[]
}

/** An SVG of scores against the steps of a training: a line for each series, with its name at its end. */
export function scorePlot(series: readonly ScoreSeries[]): string {
  const all = series.flatMap(({ points }) => points)
  const steps = all.map(([step]) => step)
  const scores = all.map(([, score]) => score)
  const [firstStep, lastStep] = rangeOf(steps, 1)
  const [bottom, top] = rangeOf(scores, 5)
  const right = width - margin.right
  const floor = height - margin.bottom
  const x = (step: number) => {
    return margin.left + ((right - margin.left) * (step - firstStep)) / (lastStep - firstStep)
  }
  const y = (score: number) => margin.top + ((floor - margin.top) * (top - score)) / (top - bottom)
  const text = (x: number, y: number, anchor: string, content: string | number) =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`
  const ticks = Array.from({ length: 6 }, (_, i) => bottom + ((top - bottom) * i) / 5)
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>Scores of checkpoints</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...ticks.map(
      tick => `<path d="M${margin.left},${y(tick).toFixed(1)} H${right}" stroke="#ddd"/>`,
    ),
    ...ticks.map(tick => text(margin.left - 8, y(tick) + 4, 'end', `${Math.round(tick)} %`)),
    ...[firstStep, lastStep].map(step => text(x(step), floor + 20, 'middle', step)),
    text((margin.left + right) / 2, height - 10, 'middle', 'step'),
    ...series.flatMap(({ label, points }, i) => {
      const color = colors[i % colors.length]
      const ordered = points.toSorted(([a], [b]) => a - b)
      const at = ordered.map(([step, score]) => `${x(step).toFixed(1)},${y(score).toFixed(1)}`)
      const dots = at.map(point => {
        const [cx, cy] = point.split(',')
        return `<circle cx="${cx}" cy="${cy}" r="3" fill="${color}"/>`
      })
      const legend = margin.top + 18 * i
      return [
        `<polyline points="${at.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
        ...dots,
        `<rect x="${right + 12}" y="${legend - 9}" width="10" height="10" fill="${color}"/>`,
        text(right + 28, legend, 'start', escapeXml(label)),
      ]
    }),
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}

/** From the smallest to the largest, rounded outwards to multiples of `unit`, and not empty. */
function rangeOf(values: readonly number[], unit: number): [low: number, high: number] {
  const low = Math.floor(Math.min(...values) / unit) * unit
  const high = Math.ceil(Math.max(...values) / unit) * unit
  return high > low ? [low, high] : [low, low + unit]
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
