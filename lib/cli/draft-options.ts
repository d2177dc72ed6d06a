import { Option } from 'commander'
import type { OpenELM } from '../index.js'
import { loadModel } from './load-model.js'
import { numeric } from './options.js'

/** What guesses the tokens that come next: the command-line form of DraftOptions, without the model. */
export const draftOptions = [
  new Option('--prompt-lookup', 'guess what followed the same tokens before').helpGroup('Speed:'),
  numeric('--num-draft-tokens <n>', 'guess at most n tokens at a time (default: 8)', 'Speed:'),
]

export const draftModelOption = new Option(
  '--draft-model <dir>',
  'a small model that guesses for the large one',
)
  .conflicts('promptLookup')
  .helpGroup('Speed:')

/** Loads the draft model, if there is to be one: where the other one runs, and as it is stored. */
export async function loadDraftModel(
  options: Record<string, unknown>,
  signal: AbortSignal,
): Promise<OpenELM | undefined> {
  const { draftModel } = options
  if (draftModel === undefined) return undefined
  const { backend, deviceIndex, threads } = options
  return loadModel(draftModel as string, { backend, deviceIndex, threads }, signal)
}
