/**
 * What hostile clients do to `openelm serve`: node test/clients/attack.mjs [requests, 100,000 by default].
 * Fails unless every answer is a 2xx or a 4xx, the server's memory stays flat, its caches are given back
 * and it still answers.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'

const requests = Number(process.argv[2] ?? 100_000)
const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
const args = [
  'serve',
  '--port',
  '0',
  '--cache-slots',
  '0',
  '--max-tokens',
  '8',
  '--max-queue',
  '2000',
]
const server = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
const [url] = await once(createInterface({ input: server.stdout }), 'line')
const { port } = new URL(url)
while ((await fetch(`${url}/health`)).status === 503);

const residentMiB = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) / 1024
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

/** The status of an answer; undefined where the connection was closed. */
function send(path, body, headers = { 'content-type': 'application/json' }) {
  return new Promise(resolve => {
    const req = request(url + path, { method: 'POST', agent, headers }, res => {
      res.resume().on('end', () => resolve(res.statusCode))
    })
    req.on('error', () => resolve(undefined))
    req.end(body)
  })
}

let state = 1
const random = n => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * n)
}
const pick = list => list[random(list.length)]
const strange = [
  null,
  true,
  -1,
  0,
  0.5,
  1e308,
  2 ** 53,
  '',
  'a',
  '\u0000',
  '</s>',
  [],
  [[]],
  {},
  [null],
]
strange.push({ a: 1 }, ['a', 1], [-1], [1, 2], 'x'.repeat(3000), '\ud800', {
  __proto__: null,
  type: 'text',
})
const bases = [
  [
    '/v1/completions',
    { prompt: 'Hello', max_tokens: 2, temperature: 1, n: 1, logprobs: 1, echo: true },
  ],
  [
    '/v1/completions',
    { prompt: [[1, 2], [3]], stop: ['a'], seed: 1, stream: true, logit_bias: { 5: 1 } },
  ],
  [
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1, tools: [] },
  ],
  [
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'a' }], stream: true, top_p: 0.5, min_p: 0.1 },
  ],
  ['/tokenize', { prompt: 'Hello', add_special_tokens: true }],
  ['/detokenize', { tokens: [1, 2, 3] }],
]

function mutate([path, body]) {
  const mutated = structuredClone(body)
  for (let i = random(3); i >= 0; i--) {
    const key = pick(Object.keys(mutated))
    if (random(4) === 0 && Array.isArray(mutated[key]))
      mutated[key].push(structuredClone(pick(strange)))
    else mutated[key] = structuredClone(pick(strange))
  }
  let text = JSON.stringify(mutated)
  if (random(3) === 0) {
    const at = random(text.length)
    text =
      text.slice(0, at) +
      pick(['', '"', '{', ']', ',', '\\u', '9'.repeat(40)]) +
      text.slice(at + random(4))
  }
  return [path, text]
}

async function inParallel(count, width, work) {
  const numbers = Array.from({ length: count }, (_, i) => i).values()
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const i of numbers) await work(i)
    }),
  )
}

const statuses = new Map()
async function mutated(count) {
  await inParallel(count, 16, async () => {
    const [path, body] = mutate(pick(bases))
    const status = await send(path, body)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (!(status >= 200 && status < 300) && !(status >= 400 && status < 500))
      console.log(status, path, body)
  })
}

try {
  await mutated(Math.ceil(requests / 10))
  const before = residentMiB()
  await mutated(requests)
  console.log('mutated bodies', Object.fromEntries(statuses))
  for (const status of statuses.keys())
    assert(Math.floor(status / 100) === 2 || Math.floor(status / 100) === 4)

  // 100 MB, announced and in chunks: it answers before, or closes.
  const large = Buffer.alloc(100e6, ' ')
  const json = { 'content-type': 'application/json' }
  for (const headers of [json, { ...json, 'transfer-encoding': 'chunked' }]) {
    const status = await send('/v1/completions', large, headers)
    assert([413, undefined].includes(status), `a body of 100 MB: ${status}`)
  }

  // Connections that say little: they are closed while others are answered.
  const slow = Array.from({ length: 500 }, () => {
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume()
    socket.write('POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n')
    return socket
  })
  // Readers that never read, and clients that leave.
  const endless = JSON.stringify({
    prompt: 'a',
    max_tokens: 400,
    ignore_eos: true,
    stream: true,
    logprobs: 5,
  })
  const silent = Array.from({ length: 50 }, () => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.pause()
    const head = `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`
    socket.write(`${head}content-length: ${endless.length}\r\n\r\n${endless}`)
    return socket
  })
  await inParallel(200, 200, async i => {
    const req = request(`${url}/v1/completions`, { method: 'POST', headers: json }).on(
      'error',
      () => {},
    )
    req.end(endless)
    await setTimeout((i * 37) % 500)
    req.destroy()
  })
  const times = []
  for (let i = 0; i < 200; i++) {
    const start = performance.now()
    assert.equal((await fetch(`${url}/health`)).status, 200)
    times.push(performance.now() - start)
  }
  console.log(`/health meanwhile: p99 ${times.toSorted((a, b) => a - b)[198].toFixed(1)} ms`)
  const closed = await Promise.all(
    slow.map(socket => Promise.race([once(socket, 'close'), setTimeout(20_000)])),
  )
  assert(closed.every(Boolean), 'slow connections are closed')
  for (const socket of silent) socket.destroy()

  await setTimeout(500)
  const metrics = await (await fetch(`${url}/metrics`)).text()
  assert.match(metrics, /^openelm_kv_cache_bytes 0$/m)
  assert.match(metrics, /^openelm_requests_processing 0$/m)
  const after = residentMiB()
  console.log(`resident memory: ${before.toFixed(0)} MiB before, ${after.toFixed(0)} MiB after`)
  assert(after < before + 64)
} finally {
  agent.destroy()
  server.kill()
}
