import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { OpenELM } from '../index.js'
import type { ServerOptions } from './options.js'
import { Service } from './service.js'

/**
 * A server of OpenAI's HTTP API for one model, which does not listen yet. It closes connections that are
 * slow to ask. When it is closed, it gives back what memory it took; the model stays loaded.
 *
 * Who can reach it may use it, unless `apiKey` is given: let it listen on 127.0.0.1, or give it a key.
 *
 * @param model a loaded model, or one that is being loaded: requests are answered 503 until then.
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function createServer(model: OpenELM | Promise<OpenELM>, options?: ServerOptions): Server {
  const service = new Service(model, options)
  const limits = {
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 1_000,
  }
  const server = createHttpServer(limits, service.handle)
  server.maxConnections = 1024
  service.isEnding = () => !server.listening
  server.on('request', (_, res: ServerResponse) => {
    // A connection that was told to stay before the server was closed.
    const closeIdle = () => server.listening || server.closeIdleConnections()
    res.on('close', () => setImmediate(closeIdle))
  })
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    const isShort = Number(req.headers['content-length'] ?? 0) <= service.settings.maxBodyBytes
    if (isShort) res.writeContinue()
    service.handle(req, res)
  })
  server.on('close', () => service.dispose())
  return server
}

/**
 * What `createServer` answers requests with, for servers of one's own: Express, Fastify, Next, Electron.
 * It reads bodies itself, so it comes before what else reads them.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function createHandler(
  model: OpenELM | Promise<OpenELM>,
  options?: ServerOptions,
): (req: IncomingMessage, res: ServerResponse) => void {
  return new Service(model, options).handle
}
