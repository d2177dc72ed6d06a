/**
 * Serving a model over HTTP, as OpenAI's clients expect it.
 *
 * @module
 */
export { createHandler, createServer } from './create-server.js'
export type { ServerOptions } from './options.js'
