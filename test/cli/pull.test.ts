import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { scanCacheDir } from '@huggingface/hub'
import t from 'tap'
import { writeCheckpoint } from '../../lib/checkpoint.js'
import { randomWeights } from '../../lib/random-weights.js'
import { start } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { tiny, tinyTokenizer } from '../helpers/training.js'
import { commit, MockHub, sha256 } from '../hub/mock-hub.js'
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

t.test('finetune brings its base, and keeps the name in the adapter', async t => {
  const hub = await MockHub.start(t)
  const source = t.testdir()
  const companions = new Map([['tokenizer.json', Buffer.from(JSON.stringify(tinyTokenizer))]])
  await writeCheckpoint(join(source, 'tiny'), tiny, 'float32', randomWeights(tiny, 1n), {
    companions,
  })
  for (const name of readdirSync(join(source, 'tiny'))) {
    hub.files.set(name, readFileSync(join(source, 'tiny', name)))
  }
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(t.testdirName, 'cache') }
  const rows = join(t.testdirName, 'rows.jsonl')
  writeFileSync(rows, JSON.stringify({ text: 'The keeper had two lamps.' }))
  const at = (name: string) => join(t.testdirName, name)
  const tune = (name: string, more = {}) => {
    const args = ['finetune', at(name), '-m', 'apple/tiny', '--data', rows, '--steps', '1']
    return outcome(start(args, { ...env, ...more }))
  }
  const { code, stderr } = await tune('run')
  t.equal(code, 0, stderr)
  const config = readFileSync(join(at('run'), 'step-00000001', 'adapter_config.json'), 'utf8')
  t.equal(JSON.parse(config).base_model_name_or_path, 'apple/tiny')
  const downloads = hub.downloads.length
  t.ok(downloads > 0)
  t.match(await tune('again', { HF_HUB_OFFLINE: '1' }), { code: 0 })
  t.equal(hub.downloads.length, downloads, 'what is there is not brought again')
  t.match(await tune('run'), { code: 1, stderr: /already holds a run/ })
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

t.test('a kill at any byte, and the next pull goes on from there', async t => {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  const content = hub.files.get('model.safetensors')!
  const cacheDir = join(t.testdirName, 'cache')
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cacheDir, HF_TOKEN: 'secret' }
  const blob = join(cacheDir, 'models--apple--tiny', 'blobs', sha256(content))
  const partial = `${blob}.openelm-incomplete`
  const between = Array.from({ length: 18 }, (_, i) => Math.floor(((i + 1) * content.length) / 19))
  const offsets = [1, ...between, content.length - 1]
  for (const [i, offset] of offsets.entries()) {
    const halted = new Promise<void>(onHalt =>
      hub.faults.set('model.safetensors', { haltAt: offset, onHalt }),
    )
    const child = start(['pull', 'apple/tiny'], env)
    const ended = outcome(child)
    await Promise.race([halted, ended])
    // Every other one is killed while bytes may still be on their way to its file.
    while (i % 2 === 0 && child.exitCode === null && sizeOf(partial) < offset) await setTimeout(1)
    child.kill('SIGKILL')
    await ended
    t.equal(child.signalCode, 'SIGKILL')
  }
  hub.faults.clear()
  const { stdout, code } = await outcome(start(['pull', 'apple/tiny'], env))
  t.equal(code, 0)
  const snapshot = stdout.trim()
  t.equal(sha256(readFileSync(join(snapshot, 'model.safetensors'))), sha256(content))

  const toCdn = hub.asked.filter(({ origin }) => origin === 'cdn')
  const begins = toCdn.map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]))
  t.equal(begins.length, offsets.length + 1)
  for (const [i, offset] of offsets.entries()) {
    const begin = begins[i + 1]!
    if (i % 2 === 0) t.equal(begin, offset)
    else t.ok(begin >= begins[i]! && begin <= offset, `${begin} is of what had come of ${offset}`)
  }
  t.ok(toCdn.every(({ authorization }) => authorization === undefined))
  const { repos, warnings } = await scanCacheDir(cacheDir)
  t.match(repos, [{ id: { name: 'apple/tiny' }, revisions: [{ commitOid: commit }] }])
  t.same(warnings, [])
})

t.test('who waits for a pull that is killed takes it up', async t => {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(t.testdirName, 'cache') }
  const halted = new Promise<void>(onHalt =>
    hub.faults.set('model.safetensors', { haltAt: 100_000, onHalt }),
  )
  const first = start(['pull', 'apple/tiny'], env)
  const killed = outcome(first)
  await Promise.race([halted, killed])
  const others = [1, 2].map(() => outcome(start(['pull', 'apple/tiny'], env)))
  const isList = ({ path }: { path: string }) => path.startsWith('/api/')
  while (hub.asked.filter(isList).length < 3) await setTimeout(1)
  hub.faults.clear()
  first.kill('SIGKILL')
  await killed
  for (const { code, stderr } of await Promise.all(others)) {
    t.same({ code, stderr }, { code: 0, stderr: '' })
  }
  t.equal(hub.downloads.filter(({ origin }) => origin === 'cdn').length, 2)
})

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}
