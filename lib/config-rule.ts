import { configToJson, type OpenELMConfig, parseConfig } from './config.js'
import { rule } from './options.js'

/** The shape of a model as `parseConfig` returns it: nothing else fits the weights that it describes. */
export const configRule = rule('an OpenELMConfig, as parseConfig returns it', isConfig)

function isConfig(value: unknown): value is OpenELMConfig {
  const given = value as OpenELMConfig
  try {
    // FFN multipliers are written in another form; what follows from them is compared.
    const { ffnMultipliers, ...parsed } = parseConfig(configToJson(given, 'float32'), '')
    return Object.entries({ ...parsed }).every(
      ([name, value]) =>
        JSON.stringify(value) === JSON.stringify(given[name as keyof typeof parsed]),
    )
  } catch {
    return false
  }
}
