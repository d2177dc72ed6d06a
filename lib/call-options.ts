import { abortSignal, optional, type RulesOf } from './options.js'

/** Options of calls that can be aborted. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

export const callRules = { signal: optional(abortSignal) } satisfies RulesOf<CallOptions>
