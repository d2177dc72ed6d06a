import { OpenELMError, type OpenELMErrorCode } from '../index.js'

interface ApiErrorOptions {
  /** A stable word for programs. */
  readonly code: string
  /** Which parameter of the request was wrong. */
  readonly param?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

/** What a request is refused with. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly code: string
  readonly param: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, { code, param, headers = {} }: ApiErrorOptions) {
    super(message)
    this.status = status
    this.code = code
    this.param = param
    this.headers = headers
  }

  /** The answer's body, as OpenAI's clients read it. */
  toJSON(): object {
    const type = this.status >= 500 ? 'server_error' : 'invalid_request_error'
    const { message, param = null, code } = this
    return { error: { message, type, param, code } }
  }
}

/** A parameter that this server cannot heed. Leaving it out of account would change what was asked for. */
export function unsupportedParameter(param: string, reason: string): ApiError {
  return new ApiError(400, `${param} is not supported: ${reason}`, {
    code: 'unsupported_parameter',
    param,
  })
}

export function contextLengthExceeded(tokens: number, contextLength: number): ApiError {
  const message = `request (${tokens} tokens) exceeds the available context size (${contextLength} tokens)`
  return new ApiError(400, message, { code: 'context_length_exceeded' })
}

/** The codes that tell of a request that was wrong, and what OpenAI calls them. */
const codesOfRequests: Partial<Record<OpenELMErrorCode, string>> = {
  INVALID_ARGUMENT: 'invalid_value',
  CONTEXT_OVERFLOW: 'context_length_exceeded',
}

/**
 * What a client is told of any error: of those that nobody expects, only that there was one.
 *
 * @param names the parameters of the request by the names of the API's arguments.
 */
export function toApiError(error: unknown, names: Readonly<Record<string, string>> = {}): ApiError {
  if (error instanceof ApiError) return error
  const code = error instanceof OpenELMError ? codesOfRequests[error.code] : undefined
  if (!(error instanceof OpenELMError) || code === undefined) return serverError(error)
  const { argument } = error
  if (argument === undefined) return new ApiError(400, error.message, { code })
  const name = (option: string) => names[option] ?? option
  const ofRequest = (text: string) =>
    text.replace(/^\w+(?=\W|$)/, name).replace(/\boptions\.(\w+)/g, (_, option) => name(option))
  const param = ofRequest(argument)
  return new ApiError(400, error.message.replaceAll(argument, param), { code, param })
}

/** It fails each time, so clients must not try again. */
function serverError(error: unknown): ApiError {
  const known = error instanceof OpenELMError ? error : undefined
  return new ApiError(500, known?.message ?? 'internal error', {
    code: known?.code ?? 'INTERNAL',
    headers: { 'x-should-retry': 'false' },
  })
}
