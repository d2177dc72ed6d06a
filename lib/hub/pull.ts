import { invalidArgument, OpenELMError } from '../errors.js'
import {
  abortSignal,
  boolean,
  callback,
  optional,
  type RulesOf,
  readOptions,
  rule,
  string,
} from '../options.js'
import { pullFiles } from './pull-files.js'
import { hubSettings } from './settings.js'
import { CachedRepository, parseRepositoryName, type RepositoryName } from './snapshot.js'

/** Options of {@link pull}. */
export interface PullOptions {
  /** A branch, a tag or a commit. Default that of the name, or 'main'. */
  revision?: string | undefined
  /** Default that of Hugging Face's own tools: HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub. */
  cacheDir?: string | undefined
  /** Default HF_TOKEN, or what `hf auth login` has kept. Only the endpoint itself is told of it. */
  token?: string | undefined
  /** Default HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string | undefined
  /** Whether only what is in the cache may be used. Default HF_HUB_OFFLINE. */
  offline?: boolean | undefined
  /** Aborts the download, which a later one goes on from. */
  signal?: AbortSignal | undefined
  /** Called with the bytes that are there and those of all files. */
  onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined
}

const url = rule('an address that begins with http:// or https://', (value): value is string => {
  return typeof value === 'string' && /^https?:\/\/[^/]/.test(value)
})

const rules = {
  revision: optional(string),
  cacheDir: optional(string),
  token: optional(string),
  endpoint: optional(url),
  offline: optional(boolean),
  signal: optional(abortSignal),
  onProgress: optional(callback<NonNullable<PullOptions['onProgress']>>()),
} satisfies RulesOf<PullOptions>

/**
 * Brings a model of the Hugging Face hub onto this machine, into the cache that Hugging Face's own tools
 * share: config, tokenizer, chat template and the weights in safetensors, each checked against its hash.
 * What is there already costs one request, and a download that was interrupted goes on where it was.
 *
 * Without a network, the model as it was last pulled will do, with a warning of the process.
 *
 * @param name `owner/name`, or `owner/name@revision`.
 * @returns The directory of the model, for `OpenELM.load`.
 * @throws OpenELMError MODEL_NOT_FOUND, also when `offline` and not in the cache; ACCESS_DENIED,
 *   DOWNLOAD_FAILED, CORRUPT_DOWNLOAD, IO_ERROR, INVALID_ARGUMENT; or the reason of `options.signal`.
 */
export async function pull(name: string, options?: PullOptions): Promise<string> {
  const { revision, signal, onProgress, ...asked } = readOptions(options, rules)
  const given = string('name', name)
  const wanted = parseRepositoryName(revision === undefined ? given : `${given}@${revision}`)
  if (wanted === undefined) throw invalidArgument('name', 'owner/name or owner/name@revision', name)
  const settings = await hubSettings(asked)
  const cached = new CachedRepository(settings.cacheDir, wanted)
  if (settings.offline) {
    const directory = await cached.complete()
    if (directory !== undefined) return directory
    const where = `${given} is not in ${settings.cacheDir}`
    throw new OpenELMError('MODEL_NOT_FOUND', `${where}, and the network is not to be used`)
  }
  try {
    const choose = (names: readonly string[]) => chooseModelFiles(wanted, names)
    return await pullFiles(settings, wanted, choose, { signal, onProgress })
  } catch (error) {
    // A hub that answers nonsense is none that is not there.
    const isUnreachable =
      error instanceof OpenELMError && error.code === 'DOWNLOAD_FAILED' && error.cause !== undefined
    const directory = isUnreachable ? await cached.complete() : undefined
    if (directory === undefined) throw error
    process.emitWarning(`${(error as Error).message}; taking ${given} as it was last pulled`)
    return directory
  }
}

/** What a model is made of here: no code, and no weights in formats that are not read. */
const parts = /^((generation_)?config\.json|tokenizer(_config)?\.json|chat_template\.jinja)$/
const weights = /^[\w-][\w.-]*\.safetensors(\.index\.json)?$/

/** Those in folders are left out. */
async function chooseModelFiles(
  { repository }: RepositoryName,
  names: readonly string[],
): Promise<readonly string[]> {
  const chosen = names.filter(name => parts.test(name) || weights.test(name))
  if (chosen.includes('config.json')) return chosen
  throw new OpenELMError('MODEL_NOT_FOUND', `${repository} has no config.json: it is no model`)
}
