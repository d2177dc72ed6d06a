import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { torchToSafetensors } from '../../lib/convert/index.js'
import { readStateDict } from '../../lib/torch/read-state-dict.js'
import { readSafetensors } from '../helpers/safetensors.js'
import { invalidCheckpoint } from '../helpers/tiny-checkpoint.js'
import { dict, integer, pickle, tensor, writeZip } from '../helpers/torch-zip.js'

const data = join(import.meta.dirname, 'data')
const names = ['types', 'views', 'training', 'bfloat16', 'mixed']

/** A Python that has PyTorch, if there is one. */
const python = ['python3', '/usr/bin/python3'].find(command => {
  try {
    execFileSync(command, ['-c', 'import torch'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})

/** Every tensor of every file is the one that PyTorch wrote, bit for bit. */
async function isExact(t: Pick<Test, 'same' | 'ok'>, directory: string, scratch: string) {
  const out = join(scratch, 'out.safetensors')
  for (const name of names) {
    await torchToSafetensors(join(directory, `${name}.pt`), out)
    const [actual, expected] = [out, join(directory, `${name}.safetensors`)].map(readSafetensors)
    t.same([...actual!.keys()].sort(), [...expected!.keys()].sort(), name)
    for (const [key, { dtype, shape, bytes }] of expected!) {
      const tensor = actual!.get(key)!
      t.same([tensor.dtype, tensor.shape], [dtype, shape], `${name}: ${key}`)
      t.ok(Buffer.from(tensor.bytes).equals(bytes), `${name}: the bits of ${key}`)
    }
  }
}

t.test('files that PyTorch wrote', t => isExact(t, data, t.testdir()))

const skip = python === undefined && 'no Python with PyTorch'
t.test('files that the PyTorch of this machine writes', { skip }, async t => {
  const directory = t.testdir()
  execFileSync(python!, [join(import.meta.dirname, 'make-files.py'), directory])
  await isExact(t, directory, directory)
})

t.test('tensors larger than what is read at a time, whole and in another order', async t => {
  const dir = t.testdir()
  const [rows, columns] = [1000, 700]
  const numbers = Float32Array.from({ length: rows * columns }, (_, i) => i)
  const length = numbers.length
  const stateDict = dict({
    plain: tensor({ length, shape: [rows, columns], strides: [columns, 1] }),
    transposed: tensor({ length, shape: [columns, rows], strides: [1, columns] }),
    sparse: tensor({ length, shape: [50, columns], strides: [20 * columns, 1] }),
  })
  const file = join(dir, 'x.pt')
  writeZip(file, [
    { name: 'x/data.pkl', data: pickle(stateDict, '.') },
    { name: 'x/data/0', data: Buffer.from(numbers.buffer), padding: 37 },
  ])
  const progress: number[] = []
  const out = join(dir, 'x.safetensors')
  await torchToSafetensors(file, out, { onProgress: done => progress.push(done) })
  const tensors = readSafetensors(out)
  const valuesOf = (name: string) =>
    new Float32Array(Uint8Array.from(tensors.get(name)!.bytes).buffer)
  t.same(valuesOf('plain'), numbers)
  t.same(
    valuesOf('transposed'),
    numbers.map((_, i) => (i % rows) * columns + Math.floor(i / rows)),
  )
  t.same(
    valuesOf('sparse'),
    Float32Array.from({ length: 50 * columns }, (_, i) => {
      return Math.floor(i / columns) * 20 * columns + (i % columns)
    }),
  )
  t.equal(progress.at(-1), 4 * (2 * length + 50 * columns))
})

t.test('a zip without the records of zip64, and one with entries that no tensor needs', async t => {
  const file = join(t.testdir(), 'x.pt')
  const parts = [
    { name: 'archive/data.pkl', data: pickle(dict({ w: tensor() }), '.') },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    { name: 'archive/data/0', data: Buffer.alloc(24) },
    { name: 'archive/.data/serialization_id', data: Buffer.from('1') },
  ]
  writeZip(file, parts, { zip64: false })
  t.match(await readStateDict(file), [{ name: 'w', dtype: 'F32', shape: [2, 3], strides: [3, 1] }])
})

t.test('a shape is what it was when the tensor was made', async t => {
  const file = join(t.testdir(), 'x.pt')
  const lists = tensor({ shape: [], strides: [] })
    .toString('latin1')
    .replace('(t(t', ']q\x00]q\x01')
  const longer = ['h\x00', integer(2 ** 30), 'a', 'h\x01', integer(1), 'a']
  const made = dict({ w: Buffer.from(lists, 'latin1') })
  writeZip(file, [
    { name: 'x/data.pkl', data: pickle(made, 'q\x02', ...longer, 'h\x02.') },
    { name: 'x/data/0', data: Buffer.alloc(24) },
  ])
  const [{ shape, strides } = {}] = await readStateDict(file)
  t.same([shape, strides], [[], []])
})

t.test('an abort writes no file', async t => {
  const out = join(t.testdir(), 'out.safetensors')
  const signal = AbortSignal.abort(new Error('stop'))
  await t.rejects(torchToSafetensors(join(data, 'types.pt'), out, { signal }), { message: 'stop' })
  t.notOk(existsSync(out))
})

t.test('other files are told by what they are', async t => {
  const dir = t.testdir()
  const read = (name: string, content: string | Buffer) => {
    writeFileSync(join(dir, name), content)
    return readStateDict(join(dir, name))
  }
  const refuses = (call: Promise<unknown>, message: RegExp) =>
    t.rejects(call, invalidCheckpoint(message), String(message))
  await refuses(
    readStateDict(join(data, 'legacy.pt')),
    /before 1\.6; save it again, in Python: torch\.save\(torch\.load\(path\), path\)$/,
  )
  await refuses(readStateDict(join(data, 'protocol-4.pt')), /pickle of protocol 2, .* received 4$/)
  await refuses(readStateDict(join(data, 'script.pt')), /TorchScript/)
  await refuses(readStateDict(join(data, 'types.safetensors')), /it is no zip$/)
  await refuses(read('page.pt', '<!DOCTYPE html><html>'), /a web page/)
  await refuses(read('empty.pt', ''), /it is no zip/)
  const lfs = 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n'
  await refuses(read('pointer.pt', lfs), /git lfs pull/)
  await t.rejects(readStateDict(join(dir, 'none.pt')), { code: 'IO_ERROR' })

  const big = join(dir, 'big.pt')
  const parts = [
    { name: 'x/data.pkl', data: pickle(dict({ w: tensor() }), '.') },
    { name: 'x/data/0', data: Buffer.alloc(24) },
    { name: 'x/byteorder', data: Buffer.from('big') },
  ]
  writeZip(big, parts)
  await refuses(readStateDict(big), /little-endian numbers, received "big"/)

  copyFileSync(join(data, 'types.pt'), big)
  const whole = readFileSync(big)
  for (let percent = 0; percent < 100; percent += 7) {
    writeFileSync(big, whole.subarray(0, (whole.length * percent) / 100))
    await refuses(readStateDict(big), percent < 1 ? /no zip/ : /not copied as a whole/)
  }
})
