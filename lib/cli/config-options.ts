import { Option } from 'commander'
import { type OpenELMConfig, presets, readConfig } from '../index.js'

/** Options that name the shape of a model without weights. */
export const configOptions = [
  new Option('--preset <size>', 'the shape of a released model')
    .choices(Object.keys(presets))
    .conflicts('config'),
  new Option('--config <file>', 'the shape that a config.json describes'),
]

/** The shape that the options name, if they name one. */
export async function readNamedConfig(options: {
  preset?: keyof typeof presets
  config?: string
}): Promise<OpenELMConfig | undefined> {
  if (options.preset) return presets[options.preset]
  return options.config === undefined ? undefined : await readConfig(options.config)
}
