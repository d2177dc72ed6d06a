import { type LoadOptions, OpenELM } from '../index.js'
import { loadOptions, pick } from './options.js'
import { Progress } from './progress.js'

/** Loads a model as the options of a command say. */
export async function loadModel(
  model: string,
  options: Record<string, unknown>,
  signal: AbortSignal,
  more: LoadOptions = {},
): Promise<OpenELM> {
  using bar = new Progress('Loading')
  return await OpenELM.load(model, {
    ...more,
    ...pick(options, loadOptions),
    signal,
    onProgress: bar.update,
  })
}
