/**
 * What hostile clients do to `openelm serve`:
 *   node test/clients/attack.mjs [REQUESTS, 100,000 by default] [MAIN, the command line's module]
 * Fails unless every answer is a 2xx or a 4xx, the server's memory stays flat, its caches are given back
 * and it still answers. Linux only, for it reads the memory of another process.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { mutatedBodies } from './mutated-bodies.mjs'

const requests = Number(process.argv[2] ?? 100_000)
const main = process.argv[3] ?? fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const options = {
  '--port': 0,
  '--cache-slots': 0,
  '--max-tokens': 400,
  '--max-queue': 2000,
}
const args = [main, 'serve', ...Object.entries(options).flat().map(String)]
const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
const [url] = await once(createInterface({ input: server.stdout }), 'line')
const { port } = new URL(url)
const json = { 'content-type': 'application/json' }

/** The status of an answer; undefined where the connection was closed. */
function send(path, body, { agent, headers = json } = {}) {
  return new Promise(resolve => {
    const req = request(url + path, { method: 'POST', agent, headers }, res => {
      res.resume().on('close', () => resolve(res.complete ? res.statusCode : undefined))
    })
    req.on('error', () => resolve(undefined))
    req.end(body)
  })
}

async function inParallel(items, width, work) {
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of items) await work(item)
    }),
  )
}

/** Numbers from 0, which several loops can share. */
const upTo = count => Array.from({ length: count }, (_, i) => i).values()

async function sendMutatedBodies(count) {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const statuses = {}
  await inParallel(mutatedBodies(count), 16, async ({ path, body }) => {
    const status = await send(path, body, { agent })
    statuses[status] = (statuses[status] ?? 0) + 1
    assert([2, 4].includes(Math.floor(status / 100)), `${status}: ${path} ${body}`)
  })
  agent.destroy()
  return statuses
}

/** Each on a connection of its own, all of which are open at a time. */
async function askByManyConnections(count) {
  const agent = new Agent({ keepAlive: true, maxSockets: count })
  await inParallel(upTo(count), count, async i => {
    const body = { prompt: 'Hello', max_tokens: 2, stream: i % 2 === 0 }
    assert.equal(await send('/v1/completions', JSON.stringify(body), { agent }), 200)
  })
  agent.destroy()
}

/** Announced and in chunks: the server answers before all has come, or closes the connection. */
async function sendLargeBodies(bytes) {
  const large = Buffer.alloc(bytes, ' ')
  for (const headers of [json, { ...json, 'transfer-encoding': 'chunked' }]) {
    const status = await send('/v1/completions', large, { headers })
    assert([413, undefined].includes(status), `a body of ${bytes} bytes: ${status}`)
  }
}

const head = 'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n'
const endless = JSON.stringify({
  prompt: 'a',
  max_tokens: 400,
  ignore_eos: true,
  stream: true,
  logprobs: 20,
})

/** Connections that never say all of their headers. What is returned waits until they are closed. */
function sayLittle(count) {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {}).resume()
    socket.write(head)
    return socket
  })
  return Promise.all(sockets.map(socket => socket.closed || once(socket, 'close')))
}

/** Clients that ask for much and never read. */
function neverRead(count) {
  return Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.pause()
    const headers = `content-type: application/json\r\ncontent-length: ${endless.length}`
    socket.write(`${head}${headers}\r\n\r\n${endless}`)
    return socket
  })
}

/** Clients that ask for much and go at any time within half a second. */
function leave(count) {
  return inParallel(upTo(count), count, async i => {
    const req = request(`${url}/v1/completions`, { method: 'POST', headers: json })
    req.on('error', () => {})
    req.end(endless)
    await setTimeout((i * 37) % 500)
    req.destroy()
  })
}

const residentMiB = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]) / 1024

async function untilIdle() {
  for (;;) {
    const metrics = await (await fetch(`${url}/metrics`)).text()
    const isIdle = ['kv_cache_bytes', 'requests_processing', 'requests_deferred'].every(name =>
      metrics.includes(`\nopenelm_${name} 0\n`),
    )
    if (isIdle) return
    await setTimeout(100)
  }
}

async function attack() {
  console.log('mutated bodies, by the status of their answers:', await sendMutatedBodies(requests))
  await askByManyConnections(1000)
  await sendLargeBodies(100e6)
  const slow = sayLittle(500)
  const silent = neverRead(50)
  await leave(200)
  const patience = new AbortController()
  await Promise.race([
    slow,
    setTimeout(60_000, undefined, patience).then(() => {
      throw new Error('connections that say little are not closed')
    }),
  ])
  patience.abort()
  for (const socket of silent) socket.destroy()
  await untilIdle()
}

try {
  while ((await fetch(`${url}/health`)).status === 503);
  // What the server takes for good, it takes at its first such requests.
  await sendMutatedBodies(Math.ceil(requests / 10))
  await askByManyConnections(1000)
  const before = residentMiB()
  const probe = new Worker(new URL('health-probe.mjs', import.meta.url), { workerData: url })
  await Promise.race([attack(), once(probe, 'error').then(([error]) => Promise.reject(error))])
  probe.postMessage('stop')
  const [times] = await once(probe, 'message')
  const at = share => times[Math.floor(share * (times.length - 1))].toFixed(1)
  console.log(`/health meanwhile: median ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${at(1)} ms`)
  const after = residentMiB()
  console.log(`resident memory: ${before.toFixed(0)} MiB before, ${after.toFixed(0)} MiB after`)
  assert(after < before + 64, 'the memory grows')
} finally {
  server.kill()
}
