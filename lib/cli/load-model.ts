import { type LoadOptions, OpenELM } from '../index.js'
import { loadOptions, pick } from './options.js'
import { note } from './output.js'
import { Progress } from './progress.js'

/** Loads a model as the options of a command say. */
export async function loadModel(
  model: string,
  options: Record<string, unknown>,
  signal: AbortSignal,
  more: LoadOptions = {},
): Promise<OpenELM> {
  using downloading = new Progress('Downloading', undefined, { timeLeft: true })
  using loading = new Progress('Loading')
  const loaded = await OpenELM.load(model, {
    ...more,
    ...pick(options, loadOptions),
    signal,
    onProgress(done, total, phase) {
      if (phase === 'download') return downloading.update(done, total)
      downloading[Symbol.dispose]()
      loading.update(done, total)
    },
  })
  for (const { remark } of loaded.adapters) if (remark) note(remark)
  return loaded
}
