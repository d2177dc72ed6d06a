import { OpenELMError } from '../errors.js'
import { pause } from './pause.js'
import type { HubSettings } from './settings.js'
import type { RepositoryName } from './snapshot.js'

/** The hub, and the signal that ends what is asked of it. */
export interface HubRequest extends Pick<HubSettings, 'endpoint' | 'token'> {
  readonly signal: AbortSignal | undefined
}

/** What a request is worth trying again for: the network, or a server that is busy. */
export class Interrupted extends Error {
  /** How long the server wants to be left alone, if it said so. */
  readonly retryAfterMs: number | undefined

  constructor(message: string, cause?: unknown, retryAfterMs?: number) {
    super(message, { cause })
    this.retryAfterMs = retryAfterMs
  }
}

const attempts = 5

/**
 * Does what may be interrupted until it is not, five times at most, and after ever longer pauses.
 *
 * @throws OpenELMError DOWNLOAD_FAILED, or whatever else `work` throws.
 */
export async function withRetries<Result>(
  what: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof Interrupted)) throw error
      if (attempt === attempts) {
        throw new OpenELMError('DOWNLOAD_FAILED', `cannot download ${what}: ${error.message}`, {
          cause: error.cause ?? error,
        })
      }
      const wait = error.retryAfterMs ?? 250 * 2 ** (attempt - 1)
      await pause(Math.min(wait, 30_000), signal)
    }
  }
}

/**
 * Asks the hub for a path. `fetch` follows redirects, and tells no other origin the token.
 *
 * @throws OpenELMError MODEL_NOT_FOUND, IO_ERROR for a data set that is not there, ACCESS_DENIED,
 *   DOWNLOAD_FAILED; or the reason of the signal.
 */
export function request(path: string, of: RepositoryName, hub: HubRequest): Promise<Response> {
  return withRetries(of.repository, hub.signal, () => requestOnce(path, of, hub))
}

/** @throws Interrupted as well. */
export async function requestOnce(
  path: string,
  of: RepositoryName,
  { endpoint, token, signal }: HubRequest,
  headers: Record<string, string> = {},
): Promise<Response> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
  let response: Response
  try {
    response = await fetch(`${endpoint}${path}`, {
      headers: { ...headers, ...authorization },
      ...(signal && { signal }),
    })
  } catch (error) {
    throw new Interrupted(messageOf(error), error)
  }
  if (response.ok || response.status === 416) return response
  await response.body?.cancel().catch(() => {})
  throw refusal(response, of, endpoint)
}

/** Where a repository is below the endpoint. */
export function pathOf({ type, repository }: RepositoryName): string {
  return type === 'dataset' ? `datasets/${repository}` : repository
}

function refusal(response: Response, of: RepositoryName, endpoint: string): Error {
  const { type, repository } = of
  const { status, headers } = response
  const code = headers.get('x-error-code')
  if (status === 404 || code === 'RepoNotFound') {
    const what = code === 'RevisionNotFound' ? `no such revision of ${repository}` : repository
    const advice = 'a private one needs a token in HF_TOKEN'
    const notFound = type === 'model' ? 'MODEL_NOT_FOUND' : 'IO_ERROR'
    return new OpenELMError(notFound, `${endpoint} has no ${what}, or hides it: ${advice}`)
  }
  if (status === 401 || status === 403) {
    const advice =
      code === 'GatedRepo'
        ? `accept its terms at ${endpoint}/${pathOf(of)}, and put a token of yours in HF_TOKEN`
        : 'put a token that may read it in HF_TOKEN'
    return new OpenELMError('ACCESS_DENIED', `${endpoint} refuses ${repository}: ${advice}`)
  }
  const message = `${endpoint} answered ${status}`
  if (status < 500 && status !== 429) return new OpenELMError('DOWNLOAD_FAILED', message)
  const seconds = Number(headers.get('retry-after') ?? Number.NaN)
  return new Interrupted(message, undefined, Number.isFinite(seconds) ? 1000 * seconds : undefined)
}

/** `fetch` says what went wrong in the cause of its error. */
export function messageOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}
