import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import t from 'tap'
import { run, start } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { clientOf } from '../helpers/server.js'

t.jobs = 2

/** Starts a server on a free port, and waits until it has loaded its model. */
async function serve(args: string[] = [], env: NodeJS.ProcessEnv = {}) {
  const child = start(['serve', '--port', '0', ...args], env)
  const lines = createInterface({ input: child.stdout })
  const [url] = (await once(lines, 'line')) as [string]
  const ended = outcome(child)
  while ((await fetch(`${url}/health`)).status === 503);
  return { child, ended, more: lines, ...clientOf(url) }
}

const long = { prompt: 'Hello', max_tokens: 400, ignore_eos: true, stream: true }

t.test('serve prints its address, answers, and lets answers end', async t => {
  const { child, url, ended, get, post, more } = await serve()
  const further: string[] = []
  more.on('line', line => further.push(line))
  t.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
  t.match(await get('/v1/models'), { data: [{ id: 'openelm-nano' }] })
  const response = await post('/v1/completions', long)
  child.kill('SIGTERM')
  t.match(await response.text(), /\[DONE\]\n\n$/)
  t.match(await ended, { code: 0, stderr: '' })
  t.same(further, [])
})

t.test('a second signal ends it at once', async t => {
  const { child, url, ended, post } = await serve(['--context-length', '100000'])
  const response = await post('/v1/completions', { ...long, max_tokens: 99_000 })
  child.kill('SIGINT')
  // Two waiting signals of one kind are delivered as one. The first is there when the port is closed.
  while (await fetch(`${url}/health`).catch(() => undefined));
  await response.body!.getReader().read()
  child.kill('SIGINT')
  await ended
  t.equal(child.signalCode, 'SIGINT')
})

t.test('serve takes its key from the environment', async t => {
  const env = { OPENELM_API_KEY: 'secret' }
  const args = ['--host', '0.0.0.0', '--alias', 'mine', '--allowed-host', 'a', '--parallel', '2']
  const { child, url, ended } = await serve(args, env)
  const { port } = new URL(url)
  t.equal((await fetch(`http://127.0.0.1:${port}/v1/models`)).status, 401)
  const headers = { authorization: 'Bearer secret' }
  const response = await fetch(`http://127.0.0.1:${port}/v1/models`, { headers })
  t.match(await response.json(), { data: [{ id: 'mine' }] })
  child.kill('SIGINT')
  t.match(await ended, { code: 0, stderr: '' })
})

t.test('serve says what is wrong', async t => {
  t.match(await run('serve', '--host', '0.0.0.0'), {
    code: 2,
    stdout: '',
    stderr: /^openelm: 0\.0\.0\.0 lets other machines in: give an --api-key, or say --insecure\n$/,
  })
  t.match(await run('serve', '--parallel', '0'), { code: 2, stderr: /expected --parallel to be/ })
  const missing = await run('serve', '--port', '0', '-m', './nowhere')
  t.match(missing, { code: 1, stderr: /\[MODEL_NOT_FOUND\]\n$/ })
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  t.match(await run('serve', '--port', String(port)), { code: 1, stderr: /EADDRINUSE/ })
  taken.close()
})
