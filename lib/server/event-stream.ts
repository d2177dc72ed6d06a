import type { ServerResponse } from 'node:http'

const pingMs = 15_000
const drainMs = 60_000

/** An answer in server-sent events. What a slow reader does not take is kept: it is no longer than a context. */
export class EventStream {
  readonly #res: ServerResponse
  readonly #pings: NodeJS.Timeout
  /** Called when the reader has taken all. */
  readonly #onDrain: () => void
  #isFull = false

  constructor(res: ServerResponse, onDrain: () => void) {
    this.#res = res
    this.#onDrain = onDrain
    // Until there is something to tell, as proxies close connections that are silent.
    this.#pings = setInterval(() => this.#write(': ping\n\n'), pingMs).unref()
    res.on('close', () => clearInterval(this.#pings))
    res.on('drain', () => {
      this.#isFull = false
      this.#onDrain()
    })
  }

  /** Whether the reader is behind. Events that can wait should: later they can be one. */
  get isFull(): boolean {
    return this.#isFull
  }

  /** Whether the client was told that all is well, so that an error must be an event. */
  get hasBegun(): boolean {
    return this.#res.headersSent
  }

  send(data: string): void {
    clearInterval(this.#pings)
    this.#write(`data: ${data}\n\n`)
  }

  end(): void {
    clearInterval(this.#pings)
    endSoon(this.#res)
  }

  #write(event: string): void {
    if (!this.#res.headersSent) {
      this.#res.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        'x-accel-buffering': 'no',
      })
    }
    if (!this.#res.write(event)) this.#isFull = true
  }
}

/** Ends an answer, and the connection with it where its reader has not taken all of it after a minute. */
export function endSoon(res: ServerResponse, body?: string): void {
  res.end(body)
  if (res.writableFinished) return
  const timer = setTimeout(() => res.destroy(), drainMs).unref()
  res.on('close', () => clearTimeout(timer))
}

export function sendJson(res: ServerResponse, status: number, value: object): void {
  const body = JSON.stringify(value)
  res.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  })
  endSoon(res, body)
}
