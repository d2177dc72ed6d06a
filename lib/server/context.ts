import type { ServerResponse } from 'node:http'
import type { OpenELM } from '../index.js'
import type { Metrics } from './metrics.js'
import type { ServerSettings } from './options.js'
import type { Queue } from './queue.js'
import type { Slots } from './slots.js'

/** What a server works with once its model is loaded. */
export interface Context {
  readonly model: OpenELM
  readonly settings: ServerSettings
  readonly queue: Queue
  readonly slots: Slots
  readonly metrics: Metrics
  /** When the server began, in seconds since 1970. */
  readonly created: number
}

/** A request to be answered. */
export interface Exchange {
  readonly context: Context
  readonly body: Readonly<Record<string, unknown>>
  readonly res: ServerResponse
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal
  /** When the request came, as `performance.now()` has it. */
  readonly startTime: number
}
