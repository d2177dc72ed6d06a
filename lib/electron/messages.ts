import { errorCodes, OpenELMError, type OpenELMErrorCode } from '../errors.js'
import type { GenerateChunk, Message } from '../index.js'

/** A call of a method of the model, or of a chat with it. Whoever calls chooses the numbers. */
export interface Call {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
  /** The number that `createChat` or `fork` gave. */
  readonly chat?: number
}

/** Says that a call is not wanted any more. */
export interface Abort {
  readonly id: number
  readonly abort: true
}

/** What comes back: chunks as they are generated, then what became of the call. */
export type Answer = { readonly id: number } & (
  | { readonly chunks: readonly GenerateChunk[] }
  | { readonly result: unknown; readonly state?: ChatState | undefined }
  | { readonly error: SentError; readonly state?: ChatState | undefined }
)

/** What a chat is after a call. */
export interface ChatState {
  readonly messages: readonly Message[]
  readonly contextUsage: number
}

/** A chat that was made. */
export interface ChatMade {
  readonly chat: number
  readonly contextLength: number
  readonly state: ChatState
}

/** An error, as far as it is passed on. */
export interface SentError {
  readonly name: string
  readonly message: string
  readonly code?: OpenELMErrorCode
  readonly argument?: string
}

/** What a message asks for; undefined where it is none of ours. */
export function readRequest(message: unknown): Call | Abort | undefined {
  if (typeof message !== 'object' || message === null) return undefined
  const { id, abort, method, args, chat } = message as Record<string, unknown>
  if (typeof id !== 'number') return undefined
  if (abort === true) return { id, abort }
  if (typeof method !== 'string' || !Array.isArray(args)) return undefined
  return { id, method, args, ...(typeof chat === 'number' ? { chat } : {}) }
}

/** Leaves the stack out: it says where files lie, which a page need not know. */
export function toSent(error: unknown): SentError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const { name, message } = error
  if (!(error instanceof OpenELMError)) return { name, message }
  const { code, argument } = error
  return { name, message, code, ...(argument === undefined ? {} : { argument }) }
}

export function fromSent({ name, message, code, argument }: SentError): Error {
  if (code !== undefined && Object.hasOwn(errorCodes, code)) {
    return new OpenELMError(code, message, argument === undefined ? {} : { argument })
  }
  if (name === 'AbortError') return new DOMException(message, name)
  return Object.assign(new Error(message), { name })
}
