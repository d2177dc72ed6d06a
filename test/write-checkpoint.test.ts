import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type Checkpoint,
  type DType,
  dtypes,
  openCheckpoint,
  type TensorHeader,
  tensorHeaders,
  writeCheckpoint,
} from '../lib/checkpoint.js'
import type { OpenELMConfig } from '../lib/config.js'
import { elementBytes } from '../lib/safetensors.js'
import { contentOf, sizeOf, tiny, totalOf, untied } from './helpers/tiny-checkpoint.js'

t.test('what is written is what is opened', async t => {
  for (const config of [tiny, untied]) {
    for (const dtype of dtypes) {
      const dir = join(t.testdir(), 'new', 'directory')
      await writeCheckpoint(dir, config, dtype, header => [contentOf(header)])
      t.same(readdirSync(dir).sort(), ['config.json', 'model.safetensors'])

      const checkpoint = await openCheckpoint(dir)
      t.equal(checkpoint.directory, dir)
      t.equal(checkpoint.dtype, dtype)
      t.same(checkpoint.unexpected, [])
      t.same({ ...checkpoint.config, ffnMultipliers: config.ffnMultipliers }, config)
      checkContents(t, checkpoint, config)
    }
  }
})

/** Every tensor lies where the checkpoint says, aligned to its elements. */
function checkContents(t: Test, { tensors, dtype, byteLength }: Checkpoint, config: OpenELMConfig) {
  const headers = tensorHeaders(config, dtype)
  t.same(
    [...tensors.values()].map(({ file, offset, ...header }) => header),
    headers,
  )
  t.equal(byteLength, totalOf(headers))
  for (const tensor of tensors.values()) {
    const bytes = readFileSync(tensor.file).subarray(tensor.offset)
    t.ok(bytes.subarray(0, tensor.byteLength).equals(contentOf(tensor)), tensor.name)
    t.equal(tensor.offset % elementBytes[tensor.dtype], 0)
  }
}

t.test('a large checkpoint is written in shards', async t => {
  for (const dtype of ['float32', 'q4'] as const) {
    const dir = t.testdir()
    const headers = tensorHeaders(tiny, dtype)
    const largest = Math.max(...headers.map(sizeOf))
    for (const [maxShardBytes, fewest] of [
      [1, headers.length],
      [largest, 2],
    ] as const) {
      await writeCheckpoint(dir, tiny, dtype, header => [contentOf(header)], { maxShardBytes })
      const names = readdirSync(dir).filter(name => name.endsWith('.safetensors'))
      t.ok(names.length >= fewest)
      const count = String(names.length).padStart(5, '0')
      t.ok(names.includes(`model-00001-of-${count}.safetensors`), `${names}`)

      const checkpoint = await openCheckpoint(dir)
      t.equal(checkpoint.dtype, dtype)
      checkContents(t, checkpoint, tiny)
      const index = JSON.parse(readFileSync(join(dir, 'model.safetensors.index.json'), 'utf8'))
      t.equal(index.metadata.total_size, totalOf(headers))
      t.same(Object.keys(index.weight_map).length, headers.length)
      for (const name of readdirSync(dir)) rmSync(join(dir, name))
    }
  }
})

t.test('files appear only when they are whole, config.json last', async t => {
  const dir = t.testdir()
  const headers = tensorHeaders(tiny, 'float32')
  const seen: number[] = []
  const order: string[] = []
  let finished = 0
  async function* source(header: TensorHeader) {
    order.push(header.name)
    const content = contentOf(header)
    for (let at = 0; at < content.length; at += 1000) {
      yield content.subarray(at, at + 1000)
      const names = readdirSync(dir)
      const final = names.filter(name => !name.endsWith('.tmp'))
      t.ok(
        final.every(name => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name)),
        `${final}`,
      )
      t.equal(names.length, final.length + 1, 'one file is being written')
      finished = Math.max(finished, final.length)
    }
  }
  await writeCheckpoint(dir, tiny, 'float32', source, {
    maxShardBytes: 20_000,
    onProgress: (written, total) => {
      t.equal(total, totalOf(headers))
      seen.push(written)
    },
  })
  t.ok(finished > 1)
  t.notOk(readdirSync(dir).some(name => name.endsWith('.tmp')))
  t.same(
    order,
    headers.map(({ name }) => name),
  )
  t.same(
    seen,
    [...new Set(seen)].sort((a, b) => a - b),
    'progress only grows',
  )
  t.equal(seen.at(-1), totalOf(headers))
})

t.test('what belongs to a checkpoint is there before its config.json', async t => {
  const dir = t.testdir()
  const names = ['tokenizer.json', 'generation_config.json']
  const companions = new (class extends Map<string, Uint8Array> {
    override *[Symbol.iterator]() {
      for (const name of names) yield [name, Buffer.from(name)] as [string, Uint8Array]
      t.same(readdirSync(dir).sort(), [...names, 'model.safetensors'].sort())
      return undefined
    }
  })()
  await writeCheckpoint(dir, tiny, 'q8', header => [contentOf(header)], { companions })
  for (const name of names) t.equal(readFileSync(join(dir, name), 'utf8'), name)
  t.ok(readdirSync(dir).includes('config.json'))
})

t.test('a failed write leaves no new directory', async t => {
  const dir = join(t.testdir(), 'new')
  const companions = new Map([['not/here.json', Buffer.alloc(1)]])
  const write = writeCheckpoint(dir, tiny, 'q8', header => [contentOf(header)], { companions })
  await t.rejects(write, { code: 'IO_ERROR', message: /here.json/ })
  t.notOk(existsSync(dir))
})

t.test('a failed write leaves no file', async t => {
  const headers = tensorHeaders(tiny, 'q4')
  const last = headers.at(-1)!
  const boom = new Error('boom')
  const write = async (
    onLast: (content: Buffer) => Iterable<Uint8Array>,
    options: Parameters<typeof writeCheckpoint>[4] = {},
  ) => {
    const dir = t.testdir()
    const source = (header: TensorHeader) =>
      header.name === last.name ? onLast(contentOf(header)) : [contentOf(header)]
    const error = await writeCheckpoint(dir, tiny, 'q4', source, {
      maxShardBytes: 5000,
      ...options,
    }).catch(error => error)
    t.same(readdirSync(dir), [])
    return error
  }

  const size = sizeOf(last)
  const wrongLength = (received: number) => ({
    code: 'INVALID_ARGUMENT',
    message: `expected the data of ${last.name} to be ${size} bytes, received ${received}`,
  })
  t.match(await write(() => []), wrongLength(0))
  t.match(await write(content => [content.subarray(1)]), wrongLength(size - 1))
  t.match(await write(content => [content, content]), wrongLength(2 * size))
  t.match(await write(() => ['text' as never]), { code: 'INVALID_ARGUMENT', message: /"text"$/ })
  const throwing = () => {
    throw boom
  }
  t.equal(await write(throwing), boom)
  t.equal(await write(content => [content], { onProgress: throwing }), boom)

  const abort = new AbortController()
  const aborting = (content: Buffer) => {
    abort.abort(boom)
    return [content]
  }
  t.equal(await write(aborting, { signal: abort.signal }), boom)
  t.equal(await write(content => [content], { signal: abort.signal }), boom, 'aborted before')
})

t.test('a write overwrites nothing', async t => {
  for (const name of ['config.json', 'x.safetensors', 'model.safetensors.index.json']) {
    const dir = t.testdir({ [name]: 'old', 'README.md': '' })
    const write = writeCheckpoint(dir, tiny, 'q8', header => [contentOf(header)])
    await t.rejects(write, { code: 'IO_ERROR', message: new RegExp(`already holds ${name}`) })
    t.equal(readFileSync(join(dir, name), 'utf8'), 'old')
  }
  const file = join(t.testdir({ file: '' }), 'file')
  await t.rejects(
    writeCheckpoint(file, tiny, 'q8', h => [contentOf(h)]),
    { code: 'IO_ERROR' },
  )
})

t.test('bad arguments to writeCheckpoint', async t => {
  const write = (dtype: DType, maxShardBytes: number) =>
    writeCheckpoint(t.testdir(), tiny, dtype, h => [contentOf(h)], { maxShardBytes })
  await t.rejects(write('q5' as DType, 1), { code: 'INVALID_ARGUMENT', message: /expected dtype/ })
  for (const size of [0, -1, Number.NaN]) {
    await t.rejects(write('q8', size), { code: 'INVALID_ARGUMENT', message: /maxShardBytes/ })
  }
})
