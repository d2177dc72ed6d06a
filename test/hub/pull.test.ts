import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { scanCacheDir } from '@huggingface/hub'
import t, { type Test } from 'tap'
import { quantize } from '../../lib/convert/index.js'
import { OpenELM, type PullOptions, pull } from '../../lib/index.js'
import { testConfigs } from '../helpers/configs.js'
import { commit, MockHub, sha256 } from './mock-hub.js'
import { sourceFiles } from './source.js'

/** A hub with a model, a cache that is empty, and a pull of it. */
async function begin(t: Test) {
  const hub = await MockHub.start(t)
  for (const [name, content] of sourceFiles(t)) hub.files.set(name, content)
  hub.files.set('README.md', Buffer.from('# Tiny'))
  hub.files.set('modeling.py', Buffer.from('import os'))
  hub.files.set('pytorch_model.bin', Buffer.alloc(1000))
  hub.files.set('generation_config.json', Buffer.from('{}'))
  const cacheDir = join(t.testdirName, 'cache')
  const pullIt = (options: PullOptions = {}, name = 'apple/tiny') =>
    pull(name, { endpoint: hub.endpoint, cacheDir, ...options })
  const blobs = () => readdirSync(join(cacheDir, 'models--apple--tiny', 'blobs')).sort()
  return { hub, cacheDir, pull: pullIt, blobs }
}

t.test('a pull brings what a model needs, laid out as Python does it', async t => {
  const { hub, cacheDir, pull, blobs } = await begin(t)
  const progress: [number, number][] = []
  const directory = await pull({ onProgress: (...bytes) => progress.push(bytes), token: 'secret' })
  const wanted = ['config.json', 'generation_config.json', 'model.safetensors']
  t.equal(directory, join(cacheDir, 'models--apple--tiny', 'snapshots', commit))
  t.same(readdirSync(directory).sort(), wanted)
  for (const name of wanted) t.ok(readFileSync(join(directory, name)).equals(hub.files.get(name)!))
  const weights = sha256(hub.files.get('model.safetensors')!)
  t.equal(readlinkSync(join(directory, 'model.safetensors')), join('..', '..', 'blobs', weights))
  t.equal(blobs().length, 3)
  const root = join(cacheDir, 'models--apple--tiny')
  t.equal(readFileSync(join(root, 'refs', 'main'), 'utf8'), commit)
  t.same(readdirSync(root).sort(), ['blobs', 'refs', 'snapshots'])

  const total = wanted.reduce((sum, name) => sum + hub.files.get(name)!.length, 0)
  t.same(progress.at(-1), [total, total])
  t.ok(progress.every(([done], i) => i === 0 || done >= progress[i - 1]![0]))
  for (const { origin, authorization } of hub.asked) {
    t.equal(authorization, origin === 'hub' ? 'Bearer secret' : undefined)
  }
  const { repos } = await scanCacheDir(cacheDir)
  t.equal(repos.length, 1)
  t.match(repos[0], { id: { name: 'apple/tiny', type: 'model' }, size: total })
  t.equal(repos[0]!.revisions[0]!.commitOid, commit)
})

t.test('what is there costs one request, and a model that is there none', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  const directory = await pull()
  hub.asked.length = 0
  t.equal(await pull(), directory)
  t.equal(hub.asked.length, 1)
  t.same(hub.downloads, [])

  process.env.HF_HUB_CACHE = cacheDir
  t.teardown(() => delete process.env.HF_HUB_CACHE)
  hub.asked.length = 0
  await using model = await OpenELM.load('apple/tiny', { backend: 'cpu' })
  t.equal(model.config.vocabSize, testConfigs.golden.vocab_size)
  await quantize('apple/tiny', join(cacheDir, '..', 'q8'), { dtype: 'q8' })
  t.same(hub.asked, [])
})

t.test('load pulls what is missing, unless it must not', async t => {
  const { hub, cacheDir } = await begin(t)
  Object.assign(process.env, { HF_HUB_CACHE: cacheDir, HF_ENDPOINT: hub.endpoint })
  t.teardown(() => {
    delete process.env.HF_HUB_CACHE
    delete process.env.HF_ENDPOINT
  })
  const refused = { code: 'MODEL_NOT_FOUND', message: /is not a directory/ }
  await t.rejects(OpenELM.load('apple/tiny', { download: false }), refused)
  t.same(hub.asked, [])
  const phases: string[] = []
  const onProgress = (_done: number, _total: number, phase: string) => phases.push(phase)
  await using model = await OpenELM.load('apple/tiny', { backend: 'cpu', onProgress })
  t.equal(model.config.vocabSize, testConfigs.golden.vocab_size)
  t.same([...new Set(phases)], ['download', 'load'])
  const missing = {
    code: 'MODEL_NOT_FOUND',
    message: /there is no directory apple\/none, and .*HF_TOKEN/,
  }
  await t.rejects(OpenELM.load('apple/none'), missing)
})

t.test('a connection that ends is taken up where it ended', async t => {
  const { hub, pull } = await begin(t)
  hub.faults.set('model.safetensors', { cutAfter: 100_000, times: 4 })
  const directory = await pull()
  const content = hub.files.get('model.safetensors')!
  t.ok(readFileSync(join(directory, 'model.safetensors')).equals(content))
  const ranges = hub.downloads.filter(({ origin }) => origin === 'cdn').map(({ range }) => range)
  t.equal(ranges.length, 5)
  t.equal(ranges[0], undefined)
  t.ok(ranges.slice(1).every(range => /^bytes=[1-9]\d*-$/.test(range!)))
})

t.test('servers that are busy, or know no ranges', async t => {
  const { hub, pull } = await begin(t)
  hub.faults.set('config.json', { status: 503, times: 2 })
  hub.faults.set('model.safetensors', { cutAfter: 50_000, ignoresRanges: true })
  const directory = await pull()
  const content = hub.files.get('model.safetensors')!
  t.ok(readFileSync(join(directory, 'model.safetensors')).equals(content))
})

t.test('a pull that fails leaves no snapshot behind, and the next one goes on', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  hub.faults.set('model.safetensors', { cutAfter: 10, times: 5 })
  const failed = {
    code: 'DOWNLOAD_FAILED',
    message: /cannot download apple\/tiny\/model.safetensors/,
  }
  await t.rejects(pull(), failed)
  t.notOk(existsSync(join(cacheDir, 'models--apple--tiny', 'refs')))
  await t.rejects(pull({ offline: true }), { code: 'MODEL_NOT_FOUND', message: /network/ })
  hub.asked.length = 0
  await pull()
  t.match(hub.downloads.at(-1), { range: /^bytes=[1-9]/ })
})

t.test('a byte that is wrong, and lengths that are', async t => {
  const { hub, pull, blobs } = await begin(t)
  const corrupt = { code: 'CORRUPT_DOWNLOAD', message: /model.safetensors/ }
  hub.faults.set('model.safetensors', { flipByte: 1234 })
  await t.rejects(pull(), corrupt)
  hub.faults.clear()
  const content = hub.files.get('model.safetensors')!
  const lfs = { sha256: sha256(content), size: content.length - 5 }
  hub.lies.set('model.safetensors', { lfs })
  await t.rejects(pull(), corrupt)
  t.notOk(blobs().includes(sha256(content)))
  hub.lies.set('model.safetensors', { lfs: { ...lfs, size: content.length + 5 } })
  const short = { code: 'DOWNLOAD_FAILED', message: /it ended after \d+ bytes/ }
  await t.rejects(pull(), short)
  hub.lies.clear()
  hub.files.set('config.json', Buffer.concat([hub.files.get('config.json')!, Buffer.from(' ')]))
  hub.faults.set('config.json', { flipByte: 3 })
  await t.rejects(pull(), { code: 'CORRUPT_DOWNLOAD', message: /config.json/ })
  hub.faults.clear()
  const directory = await pull()
  t.ok(readFileSync(join(directory, 'model.safetensors')).equals(content))
})

t.test('what a kill has left is gone on from, at whatever byte', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  const content = hub.files.get('model.safetensors')!
  const root = join(cacheDir, 'models--apple--tiny')
  const partial = join(root, 'blobs', `${sha256(content)}.openelm-incomplete`)
  mkdirSync(join(root, 'blobs'), { recursive: true })
  const offsets = Array.from({ length: 18 }, (_, i) => 1 + i * Math.floor(content.length / 18))
  for (const at of [...offsets, content.length - 1, content.length]) {
    writeFileSync(partial, content.subarray(0, at))
    hub.asked.length = 0
    const directory = await pull({ cacheDir })
    t.ok(readFileSync(join(directory, 'model.safetensors')).equals(content))
    const [asked] = hub.downloads.filter(({ origin }) => origin === 'cdn')
    t.equal(asked?.range, at === content.length ? undefined : `bytes=${at}-`)
    for (const name of ['blobs', 'snapshots', 'refs']) {
      rmSync(join(root, name), { recursive: true })
    }
    mkdirSync(join(root, 'blobs'))
  }
  writeFileSync(partial, Buffer.concat([content, Buffer.alloc(9)])) // longer than the file
  const directory = await pull()
  t.ok(readFileSync(join(directory, 'model.safetensors')).equals(content))
})

t.test('two at a time download once', async t => {
  const { hub, pull } = await begin(t)
  hub.faults.set('model.safetensors', { slowMs: 1 })
  const [first, second] = await Promise.all([pull(), pull()])
  t.equal(first, second)
  t.equal(hub.downloads.filter(({ origin }) => origin === 'cdn').length, 1)
})

t.test('the lock of a process that has ended is taken away', async t => {
  const { cacheDir, pull } = await begin(t)
  const root = join(cacheDir, 'models--apple--tiny')
  mkdirSync(root, { recursive: true })
  const lock = { pid: 2 ** 22 + 1, host: hostname(), id: 'x' }
  writeFileSync(join(root, '.openelm-lock'), JSON.stringify(lock))
  await pull()
  t.notOk(existsSync(join(root, '.openelm-lock')))
})

t.test('an abort is heard at once, and keeps what has come', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  hub.faults.set('model.safetensors', { slowMs: 20 })
  const controller = new AbortController()
  const reason = new Error('enough')
  const onProgress = (done: number) => done > 5000 && controller.abort(reason)
  await t.rejects(pull({ signal: controller.signal, onProgress }), reason)
  t.notOk(existsSync(join(cacheDir, 'models--apple--tiny', '.openelm-lock')))
  hub.faults.clear()
  hub.asked.length = 0
  await pull()
  t.match(hub.downloads.at(-1), { range: /^bytes=[1-9]/ })
})

t.test('offline, nothing is asked of anyone', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  let sockets = 0
  const count = () => sockets++
  subscribe('net.client.socket', count)
  t.teardown(() => unsubscribe('net.client.socket', count))
  const directory = await pull()
  t.ok(sockets > 0, 'sockets are counted')
  sockets = 0
  hub.asked.length = 0
  t.equal(await pull({ offline: true }), directory)
  t.equal(await pull({ offline: true }, `apple/tiny@${commit}`), directory)
  process.env.HF_HUB_OFFLINE = '1'
  t.teardown(() => delete process.env.HF_HUB_OFFLINE)
  t.equal(await pull(), directory)
  await t.rejects(pull({}, 'apple/other'), {
    code: 'MODEL_NOT_FOUND',
    message: /apple\/other is not in/,
  })
  await t.rejects(pull({ cacheDir: `${cacheDir}-2` }), { code: 'MODEL_NOT_FOUND' })
  t.same(hub.asked, [])
  t.equal(sockets, 0)
})

t.test('without a network, the model as it was will do, with a warning', async t => {
  const { hub, pull } = await begin(t)
  const directory = await pull()
  await hub.stop()
  const warnings: string[] = []
  const note = ({ message }: Error) => warnings.push(message)
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  t.equal(await pull(), directory)
  await new Promise(setImmediate)
  t.match(warnings.join(), /taking apple\/tiny as it was last pulled/)
})

t.test('what the hub refuses', async t => {
  const { hub, pull } = await begin(t)
  const refuse = async (
    status: number,
    code: string | undefined,
    expected: { code: string; message?: RegExp },
  ) => {
    hub.refusal = { status, ...(code !== undefined && { code }) }
    await t.rejects(pull(), expected)
  }
  await refuse(401, 'GatedRepo', {
    code: 'ACCESS_DENIED',
    message: /accept its terms at .*apple\/tiny/,
  })
  await refuse(403, undefined, { code: 'ACCESS_DENIED', message: /HF_TOKEN/ })
  await refuse(401, 'RepoNotFound', { code: 'MODEL_NOT_FOUND' })
  await refuse(404, 'RevisionNotFound', { code: 'MODEL_NOT_FOUND', message: /no such revision/ })
  await refuse(400, undefined, { code: 'DOWNLOAD_FAILED', message: /answered 400/ })
  await refuse(503, undefined, { code: 'DOWNLOAD_FAILED', message: /answered 503/ })
  hub.refusal = undefined
  for (const redirects of ['to itself', 'back'] as const) {
    hub.faults.set('model.safetensors', { redirects })
    hub.asked.length = 0
    await t.rejects(pull({ token: 'secret' }), { code: 'DOWNLOAD_FAILED', message: /redirect/ })
    const told = hub.asked.filter(({ authorization }) => authorization !== undefined)
    t.ok(told.length > 0 && told.every(({ origin }) => origin === 'hub'))
  }
  hub.faults.clear()
  for (const status of [401, 404]) {
    hub.faults.set('model.safetensors', { status })
    const code = status === 404 ? 'MODEL_NOT_FOUND' : 'ACCESS_DENIED'
    await t.rejects(pull(), { code }, `${status} for a file alone`)
  }
  hub.files.delete('config.json')
  await t.rejects(pull(), { code: 'MODEL_NOT_FOUND', message: /has no config.json/ })
})

t.test('names and lists that would lead out of the cache', async t => {
  const { hub, cacheDir, pull } = await begin(t)
  const names = [
    '',
    'tiny',
    '../tiny',
    'apple/..',
    'apple/ti--ny',
    'a/b/c',
    'apple/tiny@../x',
    '/a/b',
  ]
  for (const name of names) {
    await t.rejects(pull({}, name), { code: 'INVALID_ARGUMENT', message: /owner\/name/ }, name)
  }
  await t.rejects(pull({ revision: 'a/../../b' }), { code: 'INVALID_ARGUMENT' })
  await t.rejects(pull({ endpoint: 'file:///x' }), { code: 'INVALID_ARGUMENT' })
  t.same(hub.asked, [])
  for (const name of ['../evil.safetensors', 'a/../../evil.safetensors', '/evil.safetensors']) {
    hub.files.set(name, Buffer.from('evil'))
  }
  hub.files.set('.hidden.safetensors', Buffer.from('evil'))
  const directory = await pull()
  t.same(readdirSync(directory).length, 3)
  t.notOk(readdirSync(cacheDir).some(name => name.includes('evil')))
  hub.lies.set('config.json', { blobId: '../../../evil' })
  await t.rejects(pull(), { code: 'DOWNLOAD_FAILED', message: /no hash/ })
  hub.lies.clear()
  hub.commit = '../../evil'
  await t.rejects(pull(), { code: 'DOWNLOAD_FAILED', message: /no commit/ })
})
