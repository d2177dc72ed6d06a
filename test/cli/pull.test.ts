import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { start } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { commit, MockHub } from '../hub/mock-hub.js'
import { sourceFiles } from '../hub/source.js'

t.test('pull prints the directory, and other commands take the name', async t => {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(t.testdirName, 'cache') }
  const run = (...args: string[]) => outcome(start(args, env))
  const { stdout, stderr, code } = await run('pull', 'apple/tiny')
  t.same({ stderr, code }, { stderr: '', code: 0 })
  t.equal(stdout, `${join(env.HF_HUB_CACHE, 'models--apple--tiny', 'snapshots', commit)}\n`)
  t.same(readdirSync(stdout.trim()).sort(), ['config.json', 'model.safetensors'])
  t.match(await run('inspect', 'apple/tiny'), { code: 0, stdout: /parameters/ })

  const none = await run('pull', 'apple/none')
  t.match(none, { code: 1, stderr: /MODEL_NOT_FOUND/ })
  t.match(await run('pull', 'none'), { code: 2, stderr: /owner\/name/ })
})

t.test('two processes at a time download once', async t => {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  hub.faults.set('model.safetensors', { slowMs: 2 })
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(t.testdirName, 'cache') }
  const pulls = [1, 2].map(() => outcome(start(['pull', 'apple/tiny'], env)))
  const [first, second] = await Promise.all(pulls)
  t.match(first, { code: 0, stderr: '' })
  t.same(second, first)
  t.equal(hub.downloads.filter(({ origin }) => origin === 'cdn').length, 1)
})

t.test('kills, and the pull after them goes on where they were', async t => {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  const content = hub.files.get('model.safetensors')!
  hub.faults.set('model.safetensors', { slowMs: 1 })
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(t.testdirName, 'cache') }
  for (let kill = 0; kill < 4; kill++) {
    const before = hub.downloads.length
    const child = start(['pull', 'apple/tiny'], env)
    const ended = outcome(child)
    while (hub.downloads.length === before && child.exitCode === null) await pause(5)
    await pause(20 + 10 * kill)
    child.kill('SIGKILL')
    await ended
  }
  hub.faults.clear()
  const { stdout, code } = await outcome(start(['pull', 'apple/tiny'], env))
  t.equal(code, 0)
  t.ok(readFileSync(join(stdout.trim(), 'model.safetensors')).equals(content))
  const begins = hub.downloads
    .filter(({ origin }) => origin === 'cdn')
    .map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]))
  t.same(
    begins,
    begins.toSorted((a, b) => a - b),
    'no byte was asked for again',
  )
  t.ok(begins.at(-1)! > 0)
})

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
