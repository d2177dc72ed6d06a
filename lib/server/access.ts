import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { ApiError } from './openai-error.js'
import type { ServerSettings } from './options.js'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether an address is of this machine alone. */
export function isLoopback(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && loopback.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Decides who may use the server. */
export class Access {
  readonly #hosts: ReadonlySet<string>
  readonly #origins: ReadonlySet<string>
  readonly #keys: readonly Buffer[]

  constructor({ allowedHosts, allowedOrigins, apiKeys }: ServerSettings) {
    const hosts = ['localhost', '127.0.0.1', '[::1]', ...allowedHosts]
    this.#hosts = new Set(hosts.map(host => host.toLowerCase()))
    this.#origins = new Set(allowedOrigins)
    this.#keys = apiKeys.map(digest)
  }

  /**
   * A name of another site that leads to this machine (DNS rebinding) would make a page of that site
   * one of this server. Its browser still sends the name.
   *
   * @throws ApiError 403
   */
  checkHost({ headers: { host = '' }, socket: { localAddress } }: IncomingMessage): void {
    if (localAddress === undefined || !isLoopback(localAddress)) return
    const name = host.toLowerCase().replace(/:\d+$/, '')
    if (this.#hosts.has(name)) return
    throw new ApiError(403, `the host ${JSON.stringify(name.slice(0, 100))} is not allowed`, {
      code: 'host_not_allowed',
    })
  }

  /**
   * Pages of other sites may not call the server, unless they are allowed to: then their browser is told so.
   *
   * @throws ApiError 403
   */
  checkOrigin({ headers: { origin, host } }: IncomingMessage, res: ServerResponse): void {
    res.setHeader('vary', 'origin')
    if (origin === undefined) return
    if (this.#origins.has(origin) || this.#origins.has('*')) {
      res.setHeader('access-control-allow-origin', origin)
      return
    }
    if (host !== undefined && [`http://${host}`, `https://${host}`].includes(origin)) return
    throw new ApiError(403, `the origin ${JSON.stringify(origin.slice(0, 100))} is not allowed`, {
      code: 'origin_not_allowed',
    })
  }

  /**
   * All keys are compared, by digests of one length: how long it takes tells nothing of them.
   *
   * @throws ApiError 401
   */
  checkKey({ headers: { authorization = '' } }: IncomingMessage): void {
    if (this.#keys.length === 0) return
    const given = digest(authorization.replace(/^Bearer +/i, ''))
    const found = this.#keys.map(key => timingSafeEqual(key, given))
    if (found.includes(true)) return
    throw new ApiError(401, 'the API key is missing or wrong', {
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    })
  }
}
