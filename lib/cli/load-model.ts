import type { LoadOptions } from '../load-options.js'
import type { OpenELM } from '../model.js'
import { loadOptions, pick } from './options.js'
import { Progress } from './progress.js'

/** Loads the model that the options of a command name. */
export async function loadModel(
  options: Record<string, unknown>,
  signal: AbortSignal,
  more: LoadOptions = {},
): Promise<OpenELM> {
  const { OpenELM } = await import('../model.js')
  const { model, ...rest } = pick(options, loadOptions)
  using bar = new Progress('Loading')
  return await OpenELM.load(model as string, { ...more, ...rest, signal, onProgress: bar.update })
}
