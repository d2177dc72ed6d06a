import { tensorShapes } from '../reference.js'
import { testConfigs } from './configs.js'

/** What the golden logits are of. */
export const goldenTokens = [1, 5, 42, 96, 7, 7, 3]

/** Weights anyone can rebuild in a few lines of any language, for the config of that name. */
export function goldenWeights(): Map<string, Float64Array> {
  const weights = new Map<string, Float64Array>()
  for (const [name, shape] of tensorShapes(testConfigs.golden)) {
    const tensor = weights.size
    const values = new Float64Array(shape.reduce((product, length) => product * length, 1)).map(
      (_, i) => Math.sin(0.7310585 * i + 1.3 * tensor) + Math.sin(0.0173 * i * (1 + 0.01 * tensor)),
    )
    const scale = name.includes('proj_1') ? 0.6 : 0.06
    weights.set(
      name,
      shape.length === 1 ? values.map(s => 1 + 0.1 * s) : values.map(s => scale * s),
    )
  }
  return weights
}
