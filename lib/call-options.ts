import { abortSignal, optional, type RulesOf } from './options.js'

/** How a call is ended early. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

export const callRules = { signal: optional(abortSignal) } satisfies RulesOf<CallOptions>
