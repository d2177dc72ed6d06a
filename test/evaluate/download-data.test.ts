import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { scanCacheDir } from '@huggingface/hub'
import t, { type Test } from 'tap'
import { readRows } from '../../lib/evaluate/data-files.js'
import {
  type DownloadOptions,
  downloadData,
  evaluate,
  listTasks,
} from '../../lib/evaluate/index.js'
import { taskNamed } from '../../lib/evaluate/tasks.js'
import { OpenELM } from '../../lib/model.js'
import { start } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { commit, MockHub } from '../hub/mock-hub.js'

const here = import.meta.dirname
const parquet = readFileSync(join(here, 'data/anatomy.parquet'))
const linesOf = (name: string) => readFileSync(join(here, 'data/documents', `${name}.jsonl`))

/** A hub with data sets in their own layouts, and an empty cache that the environment names. */
async function begin(t: Test) {
  const hub = await MockHub.start(t)
  hub.dataSets.set(
    'cais/mmlu',
    new Map([
      ['README.md', Buffer.from('# MMLU')],
      ['all/test-00000-of-00001.parquet', parquet],
      ['anatomy/dev-00000-of-00001.parquet', Buffer.concat([parquet])],
      ['anatomy/test-00000-of-00001.parquet', parquet],
      ['virology/test-00000-of-00001.parquet', parquet],
    ]),
  )
  hub.dataSets.set(
    'EleutherAI/race',
    new Map([
      ['race.py', Buffer.from('import os')],
      ['race_high_test.jsonl', linesOf('race.test')],
      ['race_middle_test.jsonl', Buffer.from('{}')],
    ]),
  )
  const cacheDir = join(t.testdir(), 'cache')
  const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cacheDir }
  Object.assign(process.env, env)
  t.teardown(() => {
    for (const name of Object.keys(env)) delete process.env[name]
  })
  const snapshot = join(cacheDir, 'datasets--cais--mmlu', 'snapshots', commit)
  return { hub, cacheDir, snapshot, env }
}

const anatomy: DownloadOptions = { tasks: ['mmlu_anatomy'], numFewshot: 2 }

t.test('what a task reads comes, laid out as Python does it, and is read', async t => {
  const { hub, cacheDir, snapshot } = await begin(t)
  const seen = new Map<string, [number, number]>()
  const onProgress = (done: number, total: number, repository: string) => {
    seen.set(repository, [done, total])
  }
  await downloadData({ tasks: ['mmlu_anatomy', 'race'], numFewshot: 2, onProgress })
  t.same(readdirSync(snapshot), ['anatomy'])
  const both = ['dev-00000-of-00001.parquet', 'test-00000-of-00001.parquet']
  t.same(readdirSync(join(snapshot, 'anatomy')).sort(), both)
  t.ok(readFileSync(join(snapshot, 'anatomy', both[1]!)).equals(parquet))
  const raceSize = linesOf('race.test').length
  t.same(
    [...seen],
    [
      ['cais/mmlu', [parquet.length, parquet.length]],
      ['EleutherAI/race', [raceSize, raceSize]],
    ],
  )
  const { repos } = await scanCacheDir(cacheDir)
  t.same(repos.map(({ id }) => `${id.type} ${id.name}`).sort(), [
    'dataset EleutherAI/race',
    'dataset cais/mmlu',
  ])
  t.equal((await readRows(cacheDir, taskNamed('mmlu_anatomy'), 'dev')).length, 2)
  const infos = await listTasks()
  t.match(
    infos.find(({ name }) => name === 'race'),
    { files: [/race_high_test\.jsonl$/] },
  )
  await using model = await OpenELM.load('openelm-nano', { backend: 'cpu' })
  const { value } = await evaluate(model, anatomy).next()
  t.match(value, { task: 'mmlu_anatomy', numFewshot: 2 })
  t.same(
    hub.asked.filter(({ path }) => path.includes('/api/')).map(({ path }) => path),
    ['cais/mmlu', 'EleutherAI/race'].map(name => `/api/datasets/${name}/revision/main?blobs=true`),
  )
})

t.test('what is there costs no request, and what is missing is of the same commit', async t => {
  const { hub, snapshot } = await begin(t)
  await downloadData({ ...anatomy, numFewshot: 0 })
  t.same(readdirSync(join(snapshot, 'anatomy')), ['test-00000-of-00001.parquet'])
  hub.asked.length = 0
  await downloadData({ ...anatomy, numFewshot: 0 })
  t.same(hub.asked, [])
  await downloadData(anatomy)
  t.equal(hub.asked[0]?.path, `/api/datasets/cais/mmlu/revision/${commit}?blobs=true`)
  t.equal(readdirSync(join(snapshot, 'anatomy')).length, 2)
})

t.test('a folder that has the data sets itself, and one part of several', async t => {
  const { hub } = await begin(t)
  const data = join(t.testdirName, 'data')
  mkdirSync(join(data, 'mmlu', 'anatomy'), { recursive: true })
  writeFileSync(join(data, 'mmlu', 'anatomy', 'test-00000-of-00002.parquet'), parquet)
  await downloadData({ ...anatomy, data, numFewshot: 0 })
  t.ok(existsSync(join(data, 'datasets--cais--mmlu', 'snapshots', commit, 'anatomy')))
  writeFileSync(join(data, 'mmlu', 'anatomy', 'test-00001-of-00002.parquet'), parquet)
  t.equal((await readRows(data, taskNamed('mmlu_anatomy'), 'test')).length, 4)
  rmSync(join(data, 'datasets--cais--mmlu'), { recursive: true })
  hub.asked.length = 0
  await downloadData({ ...anatomy, data, numFewshot: 0 })
  t.same(hub.asked, [])
})

t.test('a download that fails leaves nothing that could be read, and the next goes on', async t => {
  const { hub, cacheDir, snapshot } = await begin(t)
  const name = 'anatomy/test-00000-of-00001.parquet'
  hub.faults.set(name, { cutAfter: 10, times: 5 })
  const options = { ...anatomy, numFewshot: 0 }
  await t.rejects(downloadData(options), { code: 'DOWNLOAD_FAILED', message: /cais\/mmlu/ })
  t.notOk(existsSync(join(snapshot, name)))
  await t.rejects(readRows(cacheDir, taskNamed('mmlu_anatomy'), 'test'), { code: 'IO_ERROR' })
  hub.faults.set(name, { flipByte: parquet.length - 1 })
  await t.rejects(downloadData(options), { code: 'CORRUPT_DOWNLOAD' })
  hub.faults.clear()
  await downloadData(options)
  t.ok(readFileSync(join(snapshot, name)).equals(parquet))
})

t.test('what cannot be downloaded', async t => {
  const { hub } = await begin(t)
  const nothing = { code: 'IO_ERROR' }
  await t.rejects(downloadData({ tasks: ['sciq'] }), {
    ...nothing,
    message: /has no allenai\/sciq, or hides it/,
  })
  hub.dataSets.set('Rowan/hellaswag', new Map([['data/train.jsonl', Buffer.from('{}')]]))
  await t.rejects(downloadData({ tasks: ['hellaswag'] }), {
    ...nothing,
    message: /no validation split of hellaswag in .*the hub has none/,
  })
  await t.rejects(downloadData({ tasks: ['llm_adapters_boolq'] }), {
    ...nothing,
    message: /expected AGI-Edgerunners\/LLM-Adapters of GitHub, .*dataset.boolq.test\.json/,
  })
  t.throws(() => evaluate({} as OpenELM, { tasks: ['x'] }), { code: 'INVALID_ARGUMENT' })
  await t.rejects(downloadData({ tasks: ['x'] }), { code: 'INVALID_ARGUMENT' })
  hub.refusal = { status: 401, code: 'GatedRepo' }
  await t.rejects(downloadData({ tasks: ['race'] }), {
    code: 'ACCESS_DENIED',
    message: /datasets\/EleutherAI\/race/,
  })
  process.env.HF_HUB_OFFLINE = '1'
  t.teardown(() => delete process.env.HF_HUB_OFFLINE)
  hub.asked.length = 0
  await t.rejects(downloadData({ tasks: ['race'] }), {
    ...nothing,
    message: /expected EleutherAI\/race of the Hugging Face hub.*the network is not to be used/,
  })
  t.same(hub.asked, [])
})

t.test('names that would lead out of the cache are not in the list', async t => {
  const { hub, snapshot } = await begin(t)
  const files = hub.dataSets.get('cais/mmlu')!
  for (const name of ['anatomy/test.x\\..\\..\\evil.parquet', 'anatomy/../test.parquet']) {
    files.set(name, parquet)
  }
  await downloadData({ ...anatomy, numFewshot: 0 })
  t.same(readdirSync(join(snapshot, 'anatomy')), ['test-00000-of-00001.parquet'])
})

t.test('evaluate --download is one command', async t => {
  const { env, hub } = await begin(t)
  const run = (...args: string[]) =>
    outcome(start(['evaluate', '--backend', 'cpu', '--tasks', 'mmlu_anatomy', ...args], env))
  t.match(await run(), { code: 1, stderr: /no test split of mmlu_anatomy in .*cache/ })
  t.match(await run('--download'), { code: 0, stdout: /\|anatomy|mmlu_anatomy/ })
  hub.asked.length = 0
  t.match(await run(), { code: 0 })
  t.same(hub.asked, [])
})
