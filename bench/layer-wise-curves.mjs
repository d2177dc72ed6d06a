const [width, height, margin] = [800, 400, 50]
const colours = { 'layer-wise': '#c33', uniform: '#369' }

/** An SVG of the held-out loss over the steps, a line for each of the runs `{ shape, curve }`. */
export function drawCurves(runs) {
  const points = runs.flatMap(({ curve }) => curve)
  const lastStep = Math.max(...points.map(([step]) => step))
  const losses = points.map(([, loss]) => loss)
  const [bottom, top] = [Math.floor(Math.min(...losses) * 5) / 5, Math.max(...losses)]
  const x = step => margin + ((width - 2 * margin) * step) / lastStep
  const y = loss => margin + ((height - 2 * margin) * (top - loss)) / (top - bottom)
  const at = ([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`
  const text = (x, y, anchor, content, fill = 'black') =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${fill}">${content}</text>`
  const ticks = Array.from(
    { length: Math.floor((top - bottom) / 0.2) + 1 },
    (_, i) => bottom + i / 5,
  )
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>Layer-wise scaled and uniform models on held-out text</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...ticks.map(loss => `<path d="M${at([0, loss])} H${width - margin}" stroke="#ddd"/>`),
    ...ticks.map(loss => text(margin - 8, (y(loss) + 4).toFixed(1), 'end', loss.toFixed(1))),
    text(margin, height - margin + 20, 'middle', 0),
    text(width - margin, height - margin + 20, 'middle', lastStep),
    text(width / 2, height - 10, 'middle', 'step'),
    text(margin, margin - 20, 'start', 'cross-entropy of the held-out novel, nats a token'),
    ...Object.entries(colours).map(([shape, colour], i) =>
      text(width - margin, margin + 20 * i, 'end', shape, colour),
    ),
    ...runs.map(({ shape, curve }) => {
      return `<polyline points="${curve.map(at).join(' ')}" fill="none" stroke="${colours[shape]}"/>`
    }),
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}
