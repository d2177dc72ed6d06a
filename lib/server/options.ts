import { arrayOf, integer, optional, type RulesOf, readOptions, rule, string } from '../options.js'

/** Options of `createServer` and `createHandler`. */
export interface ServerOptions {
  /** What the model is called in answers. Default 'openelm'. */
  modelId?: string | undefined
  /**
   * One of these must come with each request, as a bearer token. Default none: whoever reaches the server
   * may use it.
   */
  apiKey?: string | readonly string[] | undefined
  /**
   * Names, without a port, that the Host header may have beside localhost, 127.0.0.1 and [::1] where a
   * request comes over the loopback interface: of a proxy on the same machine, for example. Default none.
   */
  allowedHosts?: readonly string[] | undefined
  /**
   * Origins of web pages, such as 'https://example.com', that may call the server beside its own page; '*'
   * for all. Default none.
   */
  allowedOrigins?: readonly string[] | undefined
  /** How many texts are generated at a time, from 1 to 1024. Default 4. */
  parallel?: number | undefined
  /** How many requests may wait, from 0 to 65,536; more are answered 503. Default 64. */
  maxQueue?: number | undefined
  /**
   * How many KV caches are kept when nothing uses them, each of a whole context, so that a prompt that
   * begins like an earlier one costs only what is new: from 0, which is off, to 1024. Default `parallel`.
   */
  cacheSlots?: number | undefined
  /**
   * The most tokens of an answer, from 1 up, whatever a request asks for. Default what the context leaves.
   */
  maxTokens?: number | undefined
  /** The most answers to one prompt, from 1 to 128. Default 8. */
  maxChoices?: number | undefined
  /** The longest request, in bytes, from 1 KiB up. Default 1 MiB. */
  maxBodyBytes?: number | undefined
}

/** {@link ServerOptions}, checked and complete. */
export interface ServerSettings {
  readonly modelId: string
  readonly apiKeys: readonly string[]
  readonly allowedHosts: readonly string[]
  readonly allowedOrigins: readonly string[]
  readonly parallel: number
  readonly maxQueue: number
  readonly cacheSlots: number
  readonly maxTokens: number
  readonly maxChoices: number
  readonly maxBodyBytes: number
}

const key = rule(
  'a string that is not empty',
  (value): value is string => typeof value === 'string' && value !== '',
)

const rules = {
  modelId: optional(string, 'openelm'),
  apiKey: optional((name, value) =>
    Array.isArray(value) ? arrayOf(key)(name, value) : [key(name, value)],
  ),
  allowedHosts: optional(arrayOf(string), []),
  allowedOrigins: optional(arrayOf(string), []),
  parallel: optional(integer(1, 1024), 4),
  maxQueue: optional(integer(0, 65_536), 64),
  cacheSlots: optional(integer(0, 1024)),
  maxTokens: optional(integer(1), Number.MAX_SAFE_INTEGER),
  maxChoices: optional(integer(1, 128), 8),
  maxBodyBytes: optional(integer(1024, 2 ** 30), 2 ** 20),
} satisfies RulesOf<ServerOptions>

/** @throws OpenELMError INVALID_ARGUMENT */
export function readServerOptions(options: unknown): ServerSettings {
  const { apiKey = [], ...settings } = readOptions(options, rules)
  return { ...settings, apiKeys: apiKey, cacheSlots: settings.cacheSlots ?? settings.parallel }
}
