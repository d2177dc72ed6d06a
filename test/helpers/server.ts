import { once } from 'node:events'
import { type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { OpenELM } from '../../lib/index.js'
import { createServer, type ServerOptions } from '../../lib/server/index.js'

// biome-ignore lint/suspicious/noExplicitAny: tests look at any part of an answer.
type Json = any

/** A server of the bundled model that ends with the test. */
export async function startServer(
  t: Test,
  options?: ServerOptions,
  model: OpenELM | Promise<OpenELM> = OpenELM.load('openelm-nano'),
) {
  const loaded = await model
  const server = createServer(loaded, options)
  const url = await listen(t, server)
  t.teardown(() => loaded.dispose())
  return { server, model: loaded, ...clientOf(url) }
}

export async function listen(t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export function clientOf(url: string) {
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    fetch(url + path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
    })
  return {
    url,
    post,
    /** The JSON that answers. */
    async ask(path: string, body: unknown): Promise<Json> {
      return (await post(path, body)).json()
    },
    async get(path: string): Promise<Json> {
      return (await fetch(url + path)).json()
    },
    /** The events of a stream, the last of which must say that it is done. */
    async events(path: string, body: object): Promise<Json[]> {
      const lines = (await (await post(path, { ...body, stream: true })).text()).split('\n\n')
      if (lines.pop() !== '' || lines.pop() !== 'data: [DONE]') throw new Error('it did not end')
      return lines.map(line => JSON.parse(line.slice('data: '.length)))
    },
    /** The status and the code of the error that answers. */
    async refusal(path: string, body: unknown, init?: RequestInit) {
      const response = await post(path, body, init)
      const { error } = (await response.json()) as Json
      return [response.status, error?.code, error?.param]
    },
    /** With headers that `fetch` does not let one set. */
    async raw(path: string, headers: Record<string, string>, method = 'GET', body = '') {
      const req = request(url + path, { method, headers })
      req.end(body)
      const [res] = (await once(req, 'response')) as [IncomingMessage]
      return { status: res.statusCode, headers: res.headers, body: await text(res) }
    },
  }
}
