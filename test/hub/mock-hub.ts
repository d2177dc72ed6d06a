import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** What goes wrong with a file, once or always. */
export interface Fault {
  /** The connection ends after so many bytes of each answer. */
  cutAfter?: number
  /** How often that happens; default once. */
  times?: number
  flipByte?: number
  /** An answer of this status, `times` times. */
  status?: number
  ignoresRanges?: boolean
  /** Sends no byte of the file beyond this one, and ends nothing. */
  haltAt?: number
  /** Called when all before that are under way. */
  onHalt?: () => void
  /** Sends whoever asks back to where he is, or from origin to origin and back. */
  redirects?: 'to itself' | 'back'
  /** Milliseconds between pieces of 1,000 bytes. */
  slowMs?: number
}

export interface Asked {
  readonly origin: 'hub' | 'cdn'
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export const commit = '0123456789abcdef0123456789abcdef01234567'

/** A hub of two origins, as Hugging Face's: small files come from the hub, large ones from the CDN. */
export class MockHub {
  readonly asked: Asked[] = []
  /** Of the model apple/tiny. */
  readonly files = new Map<string, Buffer>()
  /** Of data sets, by their names. */
  readonly dataSets = new Map<string, Map<string, Buffer>>()
  readonly faults = new Map<string, Fault>()
  /** What the list of files says of one in the place of the truth. */
  readonly lies = new Map<string, object>()
  commit = commit
  /** The status and code of all answers, if any. */
  refusal: { status: number; code?: string } | undefined
  endpoint = ''
  #hub!: Server
  #cdn!: Server

  static async start(t: Test): Promise<MockHub> {
    const hub = new MockHub()
    hub.#hub = await listen((request, response) => hub.#answer(request, response))
    hub.#cdn = await listen((request, response) => hub.#answerCdn(request, response))
    hub.endpoint = address(hub.#hub)
    t.teardown(() => hub.stop())
    return hub
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections()
      await new Promise(closed => server.close(closed))
    }
  }

  /** Requests for the content of files. */
  get downloads(): Asked[] {
    return this.asked.filter(({ path, origin }) => path.includes('/resolve/') || origin === 'cdn')
  }

  #note(origin: 'hub' | 'cdn', { url, headers }: IncomingMessage): string {
    const path = decodeURIComponent(url!)
    const { range, authorization } = headers
    this.asked.push({ origin, path, range, authorization })
    return path
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = this.#note('hub', request)
    if (this.refusal) {
      const { status, code } = this.refusal
      const header = code === undefined ? {} : { 'x-error-code': code }
      response.writeHead(status, { 'retry-after': '0', ...header }).end()
      return
    }
    const [, type, listed] = /^\/api\/(models|datasets)\/(.+)\/revision\/[^/]+$/.exec(path) ?? []
    const repository = type === 'datasets' ? this.dataSets.get(listed!) : this.#models.get(listed!)
    const file = this.#find(path)
    if (repository) this.#list(repository, response)
    else if (!file) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end()
    else if (this.faults.get(file.name)?.redirects === 'to itself') {
      response.writeHead(302, { location: request.url! }).end()
    } else if (isLarge(file.name)) {
      response.writeHead(302, { location: `${address(this.#cdn)}${request.url}` }).end()
    } else this.#send(file, request, response)
  }

  #answerCdn(request: IncomingMessage, response: ServerResponse): void {
    const file = this.#find(this.#note('cdn', request))!
    if (this.faults.get(file.name)?.redirects === 'back') {
      response.writeHead(302, { location: `${this.endpoint}${request.url}` }).end()
    } else this.#send(file, request, response)
  }

  get #models() {
    return new Map([['apple/tiny', this.files]])
  }

  #find(path: string): { name: string; content: Buffer } | undefined {
    const form = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/[0-9a-f]{40}\/(.+)$/
    const [, isData, repository, name] = form.exec(path) ?? []
    const content = (isData ? this.dataSets : this.#models).get(repository!)?.get(name!)
    return content && { name: name!, content }
  }

  #list(files: Map<string, Buffer>, response: ServerResponse): void {
    const siblings = [...files].map(([rfilename, content]) => ({
      rfilename,
      size: content.length,
      blobId: createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex'),
      ...(isLarge(rfilename) && { lfs: { sha256: sha256(content), size: content.length } }),
      ...this.lies.get(rfilename),
    }))
    response.end(JSON.stringify({ sha: this.commit, siblings }))
  }

  #send(
    { name, content: whole }: { name: string; content: Buffer },
    { headers }: IncomingMessage,
    response: ServerResponse,
  ): void {
    const fault = this.faults.get(name) ?? {}
    const { times = 1, cutAfter, status, flipByte } = fault
    const isFaulty = times > 0
    if ((status !== undefined || cutAfter !== undefined) && isFaulty) fault.times = times - 1
    if (status !== undefined && isFaulty) {
      response.writeHead(status, { 'retry-after': '0' }).end()
      return
    }
    const content = Buffer.from(whole)
    if (flipByte !== undefined) content[flipByte]! ^= 1
    const begin = fault.ignoresRanges
      ? 0
      : Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
    if (begin > 0 && begin >= content.length) {
      response.writeHead(416).end()
      return
    }
    const rest = content.subarray(begin)
    const length = { 'content-length': String(rest.length) }
    response.writeHead(begin > 0 ? 206 : 200, length)
    if (fault.haltAt !== undefined) {
      response.write(content.subarray(begin, fault.haltAt), fault.onHalt)
    } else if (cutAfter !== undefined && isFaulty) {
      response.write(rest.subarray(0, cutAfter))
      setTimeout(() => response.destroy(), 20)
    } else if (fault.slowMs !== undefined) void trickle(response, rest, fault.slowMs)
    else response.end(rest)
  }
}

async function trickle(response: ServerResponse, bytes: Buffer, pauseMs: number): Promise<void> {
  for (let at = 0; at < bytes.length && !response.destroyed; at += 1000) {
    response.write(bytes.subarray(at, at + 1000))
    await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
  response.end()
}

function isLarge(name: string): boolean {
  return /\.(safetensors|parquet)$/.test(name)
}

export function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

function listen(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handler)
  return new Promise<Server>(resolve => server.listen(0, '127.0.0.1', () => resolve(server)))
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
