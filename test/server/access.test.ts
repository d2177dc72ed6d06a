import crypto from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { createHandler, createServer } from '../../lib/server/index.js'
import { readServerOptions } from '../../lib/server/options.js'
import { clientOf, listen, startServer } from '../helpers/server.js'

const json = { 'content-type': 'application/json' }
const hello = JSON.stringify({ prompt: 'Hello', max_tokens: 1 })

t.test('only names of this machine may lead to it', async t => {
  const { raw } = await startServer(t, { allowedHosts: ['proxy.example'] })
  const statuses = async (host: string) => (await raw('/v1/models', { host })).status
  for (const host of ['evil.com', 'evil.com:80', 'localhost.evil.com', '127.0.0.1.evil.com']) {
    t.equal(await statuses(host), 403, host)
  }
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:99', '[::1]:5', 'proxy.example:443']) {
    t.equal(await statuses(host), 200, host)
  }
  const { body } = await raw('/v1/completions', { host: 'evil.com', ...json }, 'POST', hello)
  t.equal(JSON.parse(body).error.code, 'host_not_allowed')
})

t.test('pages of other sites may not call it unless they are allowed to', async t => {
  const { raw, url } = await startServer(t, { allowedOrigins: ['https://app.example'] })
  const preflight = { 'access-control-request-method': 'POST' }
  for (const method of ['GET', 'OPTIONS']) {
    const foreign = await raw('/v1/models', { origin: 'https://evil.com', ...preflight }, method)
    t.equal(foreign.status, 403)
    t.notOk('access-control-allow-origin' in foreign.headers)
  }
  const own = await raw('/v1/models', { origin: url })
  t.equal(own.status, 200)
  t.notOk('access-control-allow-origin' in own.headers)

  const origin = 'https://app.example'
  const asked = await raw('/v1/completions', { origin, ...preflight }, 'OPTIONS')
  t.match(asked, {
    status: 204,
    headers: {
      'access-control-allow-origin': origin,
      'access-control-allow-headers': 'authorization, content-type',
      vary: 'origin',
    },
  })
  const answered = await raw('/v1/completions', { origin, ...json }, 'POST', hello)
  t.match(answered, { status: 200, headers: { 'access-control-allow-origin': origin } })
})

t.test('a page cannot send what a browser sends without asking', async t => {
  const { post, refusal } = await startServer(t)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx']) {
    const headers = { 'content-type': type }
    t.same((await refusal('/v1/completions', hello, { headers })).slice(0, 2), [
      415,
      'unsupported_media_type',
    ])
  }
  const headers = { 'content-type': 'application/json; charset=utf-8' }
  t.equal((await post('/v1/completions', hello, { headers })).status, 200)
  const compressed = { headers: { 'content-encoding': 'gzip' } }
  t.equal((await post('/v1/completions', hello, compressed)).status, 415)
})

t.test('a key opens it, and nothing else', async t => {
  const { raw, post } = await startServer(t, { apiKey: ['first key', 'second'] })
  const status = async (authorization?: string) =>
    (await raw('/v1/models', authorization === undefined ? {} : { authorization })).status
  for (const key of [undefined, '', 'Bearer', 'Bearer ', 'Bearer first', 'Bearer first keys']) {
    t.equal(await status(key), 401, String(key))
  }
  t.equal(await status('Bearer first key'), 200)
  t.equal(await status('bearer second'), 200)
  const refused = await post('/v1/completions', hello)
  t.equal(refused.status, 401)
  t.equal(refused.headers.get('www-authenticate'), 'Bearer')
  t.match(await refused.json(), { error: { code: 'invalid_api_key' } })
  for (const path of ['/metrics', '/tokenizer_info', '/nowhere']) {
    t.equal((await raw(path, {})).status, 401, path)
  }
  // A page that asks for the key, and probes, need none.
  for (const path of ['/', '/chat.js', '/health']) t.equal((await raw(path, {})).status, 200, path)
})

t.test('how long a key is compared tells nothing of the keys', async t => {
  const compared: number[] = []
  const { Access } = (await t.mockImport('../../lib/server/access.js', {
    'node:crypto': {
      ...crypto,
      timingSafeEqual(a: Uint8Array, b: Uint8Array) {
        compared.push(a.length)
        return crypto.timingSafeEqual(a, b)
      },
    },
  })) as typeof import('../../lib/server/access.js')
  const access = new Access(readServerOptions({ apiKey: ['first key', 'second'] }))
  for (const key of ['first key', 'second', 'first', '', 'x'.repeat(1000)]) {
    const request = { headers: { authorization: `Bearer ${key}` } } as IncomingMessage
    const isRight = ['first key', 'second'].includes(key)
    const check = () => access.checkKey(request)
    if (isRight) t.doesNotThrow(check, key)
    else t.throws(check, { code: 'invalid_api_key' }, key)
    t.same(compared.splice(0), [32, 32], 'all keys, by digests of one length')
  }
})

t.test('paths and methods that do not exist are named', async t => {
  const { raw, get } = await startServer(t, { modelId: 'apple/OpenELM' })
  t.equal((await raw('/nowhere', {})).status, 404)
  t.equal((await raw('/__proto__', {})).status, 404)
  t.match(await raw('/v1/completions', {}), { status: 405, headers: { allow: 'POST' } })
  t.match(await raw('/v1/models', json, 'POST', '{}'), { status: 405, headers: { allow: 'GET' } })
  t.match(await raw('/health', {}, 'HEAD'), { status: 200, body: '' })
  t.equal((await raw('/v1/models/other', {})).status, 404)
  t.equal((await raw('/v1/models/%E0%A4%A', {})).status, 404)
  const model = { id: 'apple/OpenELM', object: 'model', created: Number, owned_by: 'openelm' }
  t.match(await get('/v1/models'), { object: 'list', data: [model] })
  for (const id of ['apple/OpenELM', 'apple%2FOpenELM'])
    t.match(await get(`/v1/models/${id}`), model)
})

t.test('while the model is loaded it says so, and what became of it', async t => {
  let fail: (error: Error) => void = () => {}
  const loading = new Promise<OpenELM>((_, reject) => {
    fail = reject
  })
  const { raw } = clientOf(await listen(t, createServer(loading)))
  for (const path of ['/health', '/v1/models', '/metrics']) {
    const { status, body } = await raw(path, {})
    t.equal(status, 503)
    const error = { code: 503, message: 'Loading model', type: 'unavailable_error' }
    t.same(JSON.parse(body), { error })
  }
  t.equal((await raw('/v1/completions', json, 'POST', hello)).status, 503)
  fail(new Error('/home/me/secret is broken'))
  const { status, headers, body } = await raw('/health', {})
  t.equal(status, 500)
  t.equal(headers['x-should-retry'], 'false')
  t.same(JSON.parse(body).error, {
    message: 'internal error',
    type: 'server_error',
    param: null,
    code: 'INTERNAL',
  })
})

t.test('a handler answers within a server of one’s own', async t => {
  await using model = await OpenELM.load('openelm-nano')
  const url = await listen(t, createHttpServer(createHandler(model, { modelId: 'mine' })))
  const { ask } = clientOf(url)
  t.match(await ask('/v1/completions', { prompt: 'Hello', max_tokens: 2 }), { model: 'mine' })
})

t.test('options are checked', async t => {
  await using model = await OpenELM.load('openelm-nano')
  const bad = [{ parallel: 0 }, { apiKey: '' }, { apiKey: [''] }, { maxQueue: -1 }, { cors: true }]
  for (const options of bad) {
    t.throws(() => createServer(model, options as object), { code: 'INVALID_ARGUMENT' })
  }
})
