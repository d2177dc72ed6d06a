import type { IncomingMessage, ServerResponse } from 'node:http'
import { OpenELM, OpenELMError } from '../index.js'
import { Access } from './access.js'
import { readBody } from './body.js'
import { chatCompletions } from './chat-completions.js'
import { chatPage } from './chat-page.js'
import { completions } from './completions.js'
import type { Context, Exchange } from './context.js'
import { endSoon, sendJson } from './event-stream.js'
import { Metrics } from './metrics.js'
import { ApiError, toApiError } from './openai-error.js'
import { readServerOptions, type ServerSettings } from './options.js'
import { parameterNames } from './parameters.js'
import { Queue } from './queue.js'
import { Slots } from './slots.js'
import { detokenize, tokenize, tokenizerInfo } from './tokenize.js'

/** What answers a request for the object in its body, and what one for nothing but its path. */
type Post = (exchange: Exchange) => Promise<void>
type Get = (context: Context) => object

const posts: Readonly<Record<string, Post>> = {
  '/v1/completions': completions,
  '/v1/chat/completions': chatCompletions,
  '/tokenize': tokenize,
  '/detokenize': detokenize,
}

const gets: Readonly<Record<string, Get>> = {
  '/v1/models': context => ({ object: 'list', data: [describeModel(context)] }),
  '/tokenizer_info': tokenizerInfo,
}

const healthPaths = ['/health', '/v1/health']

/** Answers the requests of a server. */
export class Service {
  /** Whether no new connections are taken, so that those that are there should end. */
  isEnding = () => false
  readonly settings: ServerSettings
  readonly #access: Access
  readonly #page = chatPage()
  readonly #created = Math.floor(Date.now() / 1000)
  /** What the model's loading led to; undefined until then. */
  #loaded: Context | Error | undefined

  /** @throws OpenELMError INVALID_ARGUMENT */
  constructor(model: OpenELM | Promise<OpenELM>, options: unknown) {
    this.settings = readServerOptions(options)
    this.#access = new Access(this.settings)
    if (model instanceof OpenELM) this.#loaded = this.#contextOf(model)
    else {
      model.then(
        loaded => {
          this.#loaded = this.#contextOf(loaded)
        },
        error => {
          this.#loaded = error instanceof Error ? error : new Error(String(error))
        },
      )
    }
  }

  /** Gives the caches back that no request uses. */
  dispose(): void {
    if (this.#loaded && !(this.#loaded instanceof Error)) this.#loaded.slots.dispose()
  }

  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    const startTime = performance.now()
    const gone = new AbortController()
    const path = pathOf(req)
    res.on('close', () => {
      if (!res.writableFinished) gone.abort(new DOMException('the client has gone', 'AbortError'))
      this.#count(path, res, startTime)
    })
    res.setHeader('x-content-type-options', 'nosniff')
    if (this.isEnding()) res.setHeader('connection', 'close')
    this.#answer(req, res, { path, signal: gone.signal, startTime }).catch(error => {
      if (gone.signal.aborted) return
      if (res.headersSent) res.destroy()
      else this.#refuse(res, toApiError(error, parameterNames))
    })
  }

  async #answer(
    req: IncomingMessage,
    res: ServerResponse,
    { path, ...rest }: { path: string; signal: AbortSignal; startTime: number },
  ): Promise<void> {
    this.#access.checkHost(req)
    this.#access.checkOrigin(req, res)
    if (req.method === 'OPTIONS') return preflight(res)
    const asset = this.#page.get(path)
    if (asset && isGet(req)) return asset(res)
    if (!healthPaths.includes(path) && !asset) this.#access.checkKey(req)

    const post = Object.hasOwn(posts, path) ? posts[path] : undefined
    if (post) {
      if (req.method !== 'POST') throw methodNotAllowed('POST')
      const context = this.#context()
      const body = await readBody(req, this.settings.maxBodyBytes)
      return post({ context, body, res, ...rest })
    }
    const answers = this.#get(path)
    if (!answers && !asset) throw notFound(`there is no ${path.slice(0, 100)}`)
    if (!isGet(req) || !answers) throw methodNotAllowed('GET')
    answers(res)
  }

  /** What answers a GET of a path; undefined if nothing does. */
  #get(path: string): ((res: ServerResponse) => void) | undefined {
    if (healthPaths.includes(path)) {
      return res => {
        this.#context()
        sendJson(res, 200, { status: 'ok' })
      }
    }
    if (path === '/metrics') {
      return res => {
        const { metrics, model } = this.#context()
        res.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
        endSoon(res, metrics.format(model))
      }
    }
    const model = /^\/v1\/models\/(.+)$/.exec(path)?.[1]
    if (model !== undefined) {
      return res => {
        if (![model, decoded(model)].includes(this.settings.modelId)) {
          throw notFound('there is no such model')
        }
        sendJson(res, 200, describeModel(this.#context()))
      }
    }
    const get = Object.hasOwn(gets, path) ? gets[path] : undefined
    return get && (res => sendJson(res, 200, get(this.#context())))
  }

  /** @throws ApiError 503 until the model is loaded; 500 if it cannot be. */
  #context(): Context {
    if (this.#loaded === undefined) throw new LoadingError()
    if (!(this.#loaded instanceof Error)) return this.#loaded
    throw this.#loaded instanceof OpenELMError ? toApiError(this.#loaded) : this.#loaded
  }

  #contextOf(model: OpenELM): Context {
    const { settings } = this
    const queue = new Queue(settings.parallel, settings.maxQueue)
    return {
      model,
      settings,
      queue,
      slots: new Slots(model, settings.cacheSlots),
      metrics: new Metrics(queue),
      created: this.#created,
    }
  }

  #refuse(res: ServerResponse, error: ApiError): void {
    for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value)
    sendJson(res, error.status, error.toJSON())
  }

  #count(path: string, res: ServerResponse, startTime: number): void {
    if (this.#loaded === undefined || this.#loaded instanceof Error) return
    const { metrics } = this.#loaded
    const isKnown = Object.hasOwn(posts, path) || this.#page.has(path) || this.#get(path)
    const route = !isKnown ? 'other' : path.startsWith('/v1/models/') ? '/v1/models/:id' : path
    // As nginx counts what was left before it was answered.
    metrics.countRequest(route, res.writableFinished ? res.statusCode : 499)
    metrics.requestSeconds.observe((performance.now() - startTime) / 1000)
  }
}

/** What llama.cpp's server answers while it loads, which its clients wait for to end. */
class LoadingError extends ApiError {
  constructor() {
    super(503, 'Loading model', { code: 'loading', headers: { 'retry-after': '1' } })
  }

  override toJSON(): object {
    return { error: { code: 503, message: this.message, type: 'unavailable_error' } }
  }
}

function describeModel({ settings, created }: Context): object {
  return { id: settings.modelId, object: 'model', created, owned_by: 'openelm' }
}

function pathOf({ url = '/' }: IncomingMessage): string {
  const path = url.replace(/[?#].*$/s, '')
  return path === '' ? '/' : path
}

/** A part of a path without its escapes; undefined if they are wrong. */
function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

function isGet({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** A browser asks whether a page of another site may send something. It is told of the origin alone. */
function preflight(res: ServerResponse): void {
  if (res.hasHeader('access-control-allow-origin')) {
    res.setHeader('access-control-allow-methods', 'GET, POST')
    res.setHeader('access-control-allow-headers', 'authorization, content-type')
    res.setHeader('access-control-max-age', '86400')
  }
  res.writeHead(204)
  endSoon(res)
}

function notFound(message: string): ApiError {
  return new ApiError(404, message, { code: 'not_found' })
}

function methodNotAllowed(allow: string): ApiError {
  return new ApiError(405, `only ${allow} is allowed here`, {
    code: 'method_not_allowed',
    headers: { allow },
  })
}
