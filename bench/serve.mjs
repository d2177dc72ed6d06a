// Streamed tokens a second through the HTTP server, beside the same streams in process:
//   node bench/serve.mjs [MODEL] [--dtype q8] [--clients 8] [--tokens 400] [--threads n] [--rounds 5]
// The two take turns on one model, whose server is in this process; its clients are in another. Prints the
// medians of the rounds and of their ratios, those of this process's processor time as well, which other
// programs change less (with `--threads 1`, for threads that wait for each other spend it, too).
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { parseArgs } from 'node:util'

/** Asks for streams and reads them to their ends, each time it is told to; posts how many tokens there were. */
function beClients({ port, clients, body }) {
  const agent = new Agent({ keepAlive: true })
  const headers = { 'content-type': 'application/json' }
  const options = { agent, port, method: 'POST', path: '/v1/completions', headers }
  const ask = seed =>
    new Promise((resolve, reject) => {
      const req = request(options, res => {
        let last = ''
        res.setEncoding('latin1').on('data', data => {
          last = last.slice(-1000) + data
        })
        res.on('end', () => resolve(Number(/"completion_tokens":(\d+)/.exec(last)[1])))
      })
      req.on('error', reject).end(JSON.stringify({ ...body, seed }))
    })
  process.on('message', async () => {
    const counts = await Promise.all(Array.from({ length: clients }, (_, seed) => ask(seed)))
    process.send(counts.reduce((sum, count) => sum + count, 0))
  })
}

async function measure() {
  const { OpenELM } = await import('../dist/index.js')
  const { createServer } = await import('../dist/server/index.js')
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      dtype: { type: 'string' },
      clients: { type: 'string', default: '8' },
      threads: { type: 'string' },
      tokens: { type: 'string', default: '400' },
      rounds: { type: 'string', default: '5' },
    },
  })
  const clients = Number(values.clients)
  const maxTokens = Number(values.tokens)
  const prompt = 'It was a fine evening, and'
  const threads = values.threads && Number(values.threads)
  const load = { backend: 'cpu', dtype: values.dtype, threads }
  const model = await OpenELM.load(positionals[0] ?? 'openelm-nano', load)
  const server = createServer(model, { parallel: clients, cacheSlots: 0 })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const body = {
    prompt,
    max_tokens: maxTokens,
    ignore_eos: true,
    temperature: 1,
    stream: true,
    stream_options: { include_usage: true },
  }
  const { port } = server.address()
  const child = fork(new URL(import.meta.url), [JSON.stringify({ port, clients, body })])

  const options = { maxTokens, ignoreEos: true, temperature: 1 }
  const readStream = async seed => {
    let tokens = 0
    for await (const { text } of model.stream(prompt, { ...options, seed })) {
      if (typeof text === 'string') tokens++
    }
    return tokens
  }
  const inProcess = async () => {
    const counts = await Promise.all(Array.from({ length: clients }, (_, i) => readStream(i)))
    return counts.reduce((sum, count) => sum + count, 0)
  }
  const served = async () => {
    child.send('go')
    const [tokens] = await once(child, 'message')
    return tokens
  }

  const rounds = []
  for (let round = -1; round < Number(values.rounds); round++) {
    const speeds = [await speedsOf(inProcess), await speedsOf(served)]
    if (round >= 0) rounds.push(speeds) // the first one warms up
  }
  for (const kind of ['second', 'second of processor time']) {
    const pairs = rounds.map(([a, b]) => [a[kind], b[kind]])
    const [alone, asked] = [0, 1].map(i => median(pairs.map(pair => pair[i])).toFixed())
    console.log(`tokens a ${kind}, ${clients} streams: in process ${alone}, served ${asked}`)
    const ratios = pairs.map(([a, b]) => b / a)
    console.log(
      `  ratio ${median(ratios).toFixed(2)} (${ratios.map(r => r.toFixed(2)).join(', ')})`,
    )
  }
  child.kill()
  server.close()
  await model.dispose()
}

async function speedsOf(work) {
  const before = process.cpuUsage()
  const start = performance.now()
  const tokens = await work()
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  return { second: tokens / seconds, 'second of processor time': tokens / ((user + system) / 1e6) }
}

function median(figures) {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)]
}

if (process.send) beClients(JSON.parse(process.argv[2]))
else await measure()
