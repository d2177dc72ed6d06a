import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where the hub is, and where its files are kept. */
export interface HubSettings {
  readonly endpoint: string
  readonly cacheDir: string
  readonly token: string | undefined
  /** Whether the network must not be used. */
  readonly offline: boolean
}

/**
 * What the caller asked for, and for the rest what the environment says, in the variables of Hugging
 * Face's own tools: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, …
 */
export async function hubSettings(
  asked: { [Name in keyof HubSettings]?: HubSettings[Name] | undefined },
  env: NodeJS.ProcessEnv = process.env,
): Promise<HubSettings> {
  const home = expand(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'))
  const cache = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')
  return {
    endpoint: (asked.endpoint ?? (env.HF_ENDPOINT || 'https://huggingface.co')).replace(/\/+$/, ''),
    cacheDir: expand(asked.cacheDir ?? cache),
    token: asked.token ?? (await implicitToken(env, home)),
    offline: asked.offline ?? (isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE)),
  }
}

/** The token that huggingface-cli has kept, unless it is not to be used without being asked for. */
async function implicitToken(env: NodeJS.ProcessEnv, home: string): Promise<string | undefined> {
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined
  if (env.HF_TOKEN) return env.HF_TOKEN.trim()
  const file = expand(env.HF_TOKEN_PATH || join(home, 'token'))
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.trim() || undefined
}

function isOn(value: string | undefined): boolean {
  return ['1', 'true', 'yes', 'on'].includes(value?.toLowerCase() ?? '')
}

function expand(path: string): string {
  return resolve(path.replace(/^~(?=$|[/\\])/, homedir))
}
