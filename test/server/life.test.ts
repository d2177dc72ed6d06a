import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { untilIdle } from '../helpers/backend.js'
import { startServer } from '../helpers/server.js'

const endless = { prompt: 'Hello', max_tokens: 500, ignore_eos: true, temperature: 1, stream: true }
const path = '/v1/completions'

t.test('requests wait for their turn, and too many are sent away', async t => {
  const { post, get, refusal, url } = await startServer(t, { parallel: 1, maxQueue: 2 })
  const running = await Promise.all([post(path, endless)])
  const waiting = [1, 2].map(() => post(path, { ...endless, max_tokens: 3 }))
  await metricsUntil(url, /requests_deferred 2$/m)
  t.same(await refusal(path, endless), [503, 'server_busy', null])
  const refused = await post(path, endless)
  t.equal(refused.headers.get('retry-after'), '1')
  t.equal(refused.headers.get('x-should-retry'), null)
  t.same(await get('/health'), { status: 'ok' }, 'which does not wait')
  for (const response of [...running, ...(await Promise.all(waiting))]) {
    t.match(await response.text(), /\[DONE\]\n\n$/)
  }
  t.equal((await post(path, { ...endless, max_tokens: 1 })).status, 200)
})

t.test('who leaves ends its generation, also while it waits', async t => {
  const { model, url, post } = await startServer(t, { parallel: 1, cacheSlots: 0 })
  const leave = new AbortController()
  const running = await post(path, endless, { signal: leave.signal })
  const waiting = post(path, endless, { signal: leave.signal })
  await metricsUntil(url, /requests_deferred 1$/m)
  leave.abort()
  await t.rejects(waiting)
  await t.rejects(running.text())
  await untilIdle(model)
  t.equal((await post(path, { prompt: 'a', max_tokens: 1 })).status, 200)
  const left = /^openelm_requests_total\{route="\/v1\/completions",status="499"\} 2$/m
  t.match(await metricsUntil(url, left), /^openelm_requests_processing 0$/m)
})

t.test('many disconnects at any time leave nothing behind', async t => {
  const { model, url, post } = await startServer(t, { cacheSlots: 0 })
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const req = request(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      req.on('error', () => {})
      req.end(JSON.stringify(endless))
      await setTimeout((i * 7) % 90)
      req.destroy()
    }),
  )
  await untilIdle(model)
  t.equal((await post(path, { prompt: 'a', max_tokens: 1 })).status, 200)
})

t.test('a reader that does not read keeps no place', async t => {
  const { url, post } = await startServer(t, { parallel: 1 })
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  const body = JSON.stringify({ ...endless, logprobs: 20 })
  socket.pause()
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`,
  )
  await setTimeout(50)
  t.equal((await post(path, { prompt: 'a', max_tokens: 1 })).status, 200)
  // What it is told late is whole.
  let text = ''
  socket.on('data', data => {
    text += data
    if (text.includes('[DONE]')) socket.end()
  })
  socket.resume()
  await once(socket, 'close')
  const events = text.split('data: ').slice(1, -1)
  const choices = events.map(event => JSON.parse(event.split('\n')[0]!).choices[0])
  const tokens = choices.flatMap(({ logprobs }) => logprobs?.tokens ?? [])
  t.equal(tokens.length, 500)
})

t.test('a failure behind the headers is an event', async t => {
  const { model, post } = await startServer(t)
  const response = await post(path, endless)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  await reader.read()
  await model.dispose()
  let text = ''
  for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value
  const last = text.trim().split('\n\n').at(-1)!
  t.match(JSON.parse(last.slice('data: '.length)), {
    error: { message: String, type: 'server_error', code: 'DISPOSED', param: null },
  })
  t.notMatch(last, /\bat \S+:\d+/, 'no stack')
})

t.test('requests that were there may end when it is closed', async t => {
  const { server, post } = await startServer(t)
  const response = await post(path, { ...endless, max_tokens: 200 })
  server.close()
  t.match(await response.text(), /\[DONE\]\n\n$/)
  if (server.connections) await once(server, 'close')
})

t.test('who is slow to ask is sent away', async t => {
  const { server, url } = await startServer(t)
  server.headersTimeout = 300
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n')
  const [answer] = await once(socket, 'data')
  t.match(String(answer), /^HTTP\/1.1 408/)
  await once(socket, 'close')
})

/** What the server tells Prometheus, once it tells that. */
async function metricsUntil(url: string, line: RegExp): Promise<string> {
  for (;;) {
    const metrics = await (await fetch(`${url}/metrics`)).text()
    if (line.test(metrics)) return metrics
    await setTimeout(1)
  }
}
