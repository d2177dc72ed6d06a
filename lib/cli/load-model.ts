import type { GenerateOptions, LoadOptions, OpenELM } from '../index.js'
import { loadOptions, pick } from './options.js'
import { Progress } from './progress.js'

/** Refuses options of a generation before a model is loaded for it. */
export async function checkOptions(options: GenerateOptions): Promise<void> {
  const { checkGenerateOptions } = await import('../index.js')
  checkGenerateOptions(options)
}

/** Loads a model as the options of a command say. */
export async function loadModel(
  model: string,
  options: Record<string, unknown>,
  signal: AbortSignal,
  more: LoadOptions = {},
): Promise<OpenELM> {
  const { OpenELM } = await import('../index.js')
  using bar = new Progress('Loading')
  return await OpenELM.load(model, {
    ...more,
    ...pick(options, loadOptions),
    signal,
    onProgress: bar.update,
  })
}
