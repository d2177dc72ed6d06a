import { writeFileSync } from 'node:fs'
import { parse, View } from 'vega'
import { compile } from 'vega-lite'

const engineColor = {
  field: 'engine',
  title: null,
  scale: { domain: ['openelm', 'node-llama-cpp'], range: ['#0b6e99', '#d98324'] },
}

/** Draws a Vega-Lite chart as SVG. */
async function draw(file, spec) {
  const { spec: vega } = compile({ background: 'white', ...spec })
  const svg = await new View(parse(vega), { renderer: 'none' }).toSVG()
  writeFileSync(file, `${svg}\n`)
}

/** Tokens a second as bars, a panel for each model: [{ model, dtype, engine, speed, roof }]. */
export function drawSpeeds(file, title, values) {
  const models = [...new Set(values.map(({ model }) => model))]
  return draw(file, {
    title,
    data: { values },
    facet: { column: { field: 'model', title: null, sort: models } },
    spec: {
      width: 220,
      height: 220,
      encoding: { x: { field: 'dtype', title: null, sort: null, axis: { labelAngle: 0 } } },
      layer: [
        {
          mark: 'bar',
          encoding: {
            xOffset: { field: 'engine', sort: ['openelm', 'node-llama-cpp'] },
            y: { field: 'speed', type: 'quantitative', title: 'tokens a second' },
            color: engineColor,
          },
        },
        {
          transform: [{ filter: "datum.engine === 'openelm'" }],
          mark: { type: 'tick', color: 'black', thickness: 2, width: 60 },
          encoding: { y: { field: 'roof', type: 'quantitative' } },
        },
      ],
    },
    resolve: { scale: { y: 'independent' } },
  })
}

/** Lines over a quantity: [{ x, y, engine }]. */
export function drawLines(file, title, xTitle, yTitle, values) {
  return draw(file, {
    title,
    width: 420,
    height: 240,
    data: { values },
    mark: { type: 'line', point: true },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: xTitle },
      y: { field: 'y', type: 'quantitative', title: yTitle },
      color: engineColor,
    },
  })
}
