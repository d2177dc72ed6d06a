import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  checkpointToGguf,
  ggufToCheckpoint,
  initialize,
  openCheckpoint,
  quantize,
  torchToCheckpoint,
  torchToSafetensors,
} from '../../lib/convert/index.js'
import { presets } from '../../lib/index.js'

// biome-ignore lint/suspicious/noExplicitAny: JavaScript can pass anything.
type Anything = any

const out = join(t.testdir(), 'out')

t.test('every argument is checked before anything is read or written', async t => {
  const config = presets['270M']
  const calls: [message: string, call: () => Promise<void>][] = [
    ['source to be a path, received 5', () => quantize(5 as Anything, out, { dtype: 'q8' })],
    ['directory to be a path', () => quantize('', undefined as Anything, { dtype: 'q8' })],
    ['options.dtype to be one of q8, q4', () => quantize('', out, {} as Anything)],
    ['options.threads to be an integer', () => quantize('', out, { dtype: 'q8', threads: 0 })],
    ['no options.dtyp; did you mean', () => quantize('', out, { dtyp: 'q8' } as Anything)],
    ['config to be an OpenELMConfig', () => initialize(undefined as Anything, out)],
    ['options.dtype to be one of', () => initialize(config, out, { dtype: 'q8' as Anything })],
    ['options.seed to be an integer', () => initialize(config, out, { seed: -1 })],
    ['options.dtype to be one of', () => checkpointToGguf('', out, { dtype: 'q8' as Anything })],
    ['options.signal', () => checkpointToGguf('', out, { signal: {} as Anything })],
    ['options.onProgress', () => ggufToCheckpoint('', out, { onProgress: 1 as Anything })],
    [
      'options.config to be an OpenELMConfig',
      () => torchToCheckpoint('', out, { config: 1 as Anything }),
    ],
    ['no options.dtype', () => torchToCheckpoint('', out, { dtype: 'float32' } as Anything)],
    ['out to be a path', () => torchToSafetensors('', 1 as Anything)],
    ['no options.config', () => torchToSafetensors('', out, { config } as Anything)],
    ['no options.dtype', () => ggufToCheckpoint('', out, { dtype: 'q8_0' } as Anything)],
  ]
  for (const [message, call] of calls) {
    const error = await call().catch((error: unknown) => error)
    t.match(error, { code: 'INVALID_ARGUMENT', message }, message)
  }
  t.notOk(existsSync(out))
})

t.test('the same seed initialises the same weights', async t => {
  const nano = (await openCheckpoint('openelm-nano')).config
  const dir = t.testdir()
  const totals: number[] = []
  await initialize(nano, join(dir, 'a'), { seed: 7, onProgress: done => totals.push(done) })
  await initialize(nano, join(dir, 'b'), { seed: 7 })
  const a = await openCheckpoint(join(dir, 'a'))
  t.equal(a.dtype, 'bfloat16')
  t.equal(totals.at(-1), a.byteLength)

  const bytes = (name: string) => readFile(join(dir, name, 'model.safetensors'))
  t.ok((await bytes('a')).equals(await bytes('b')))
})
