import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { byteLengthOf, encodeSafetensorsHeader, readSafetensorsHeader } from '../lib/safetensors.js'

const file = join(t.testdir(), 'x.safetensors')

/** Writes a file with this header, and reads it back. */
function read(header: string | Buffer | object, dataBytes = 0) {
  const isText = typeof header === 'string' || Buffer.isBuffer(header)
  const bytes = Buffer.from((isText ? header : JSON.stringify(header)) as string)
  return readFile(withLength(bytes.length, bytes, Buffer.alloc(dataBytes)))
}

function readFile(content: Buffer) {
  writeFileSync(file, content)
  return readSafetensorsHeader(file)
}

function withLength(length: number | bigint, ...rest: Buffer[]): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(length))
  return Buffer.concat([prefix, ...rest])
}

const f32 = (shape: unknown, begin: unknown, end: unknown) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
})

async function rejects(t: Test, read: Promise<unknown>, reason: RegExp, what: string) {
  const error = await read.then(
    () => undefined,
    error => error,
  )
  t.match(error, { name: 'OpenELMError', code: 'INVALID_CHECKPOINT', message: reason }, what)
  t.ok(String(error?.message).startsWith(`${file}: `), error?.message)
}

t.test('a well-formed header says where each tensor lies', async t => {
  const header = {
    __metadata__: { format: 'pt' },
    second: { dtype: 'BF16', shape: [3], data_offsets: [24, 30] },
    first: f32([2, 3], 0, 24),
  }
  const { metadata, tensors } = await read(header, 30)
  const dataStart = 8 + JSON.stringify(header).length
  t.same([...metadata], [['format', 'pt']])
  t.same(Object.fromEntries(tensors), {
    second: { dtype: 'BF16', shape: [3], offset: dataStart + 24, byteLength: 6 },
    first: { dtype: 'F32', shape: [2, 3], offset: dataStart, byteLength: 24 },
  })
})

t.test('what the reference implementation accepts, within our limits', async t => {
  const cases: [string, string | object, number][] = [
    ['no tensors', '{}', 0],
    ['metadata only', { __metadata__: { format: 'pt' } }, 0],
    ['null metadata', { __metadata__: null }, 0],
    ['space around', ' \n{}\t  ', 0],
    ['a scalar', { x: f32([], 0, 4) }, 4],
    ['a zero dimension', { x: f32([0, 7], 0, 0), y: f32([1], 0, 4), z: f32([2, 0], 4, 4) }, 4],
    ['a zero dimension and then large ones', { x: f32([0, 2 ** 32, 2 ** 32], 0, 0) }, 0],
    ['unknown fields in a tensor', { x: { ...f32([1], 0, 4), more: [{ a: null }] } }, 4],
    ['rank 8', { x: f32([1, 1, 1, 1, 1, 1, 1, 1], 0, 4) }, 4],
    ['an odd data start', '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} ', 4],
    ['names like those of Object.prototype', { constructor: f32([1], 0, 4) }, 4],
    ['a tensor called __proto__', `{"__proto__":${JSON.stringify(f32([1], 0, 4))}}`, 4],
  ]
  for (const [what, header, dataBytes] of cases) {
    const { tensors } = await read(header, dataBytes)
    const total = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
    t.equal(total, dataBytes, what)
  }
  const bool = await read({ x: { dtype: 'BOOL', shape: [2], data_offsets: [0, 2] } }, 2)
  t.equal(bool.tensors.get('x')?.byteLength, 2)
})

t.test('a file too short or too long for its header', async t => {
  const cases: [string, Buffer, RegExp][] = [
    ['an empty file', Buffer.alloc(0), /expected at least 8 bytes, received 0/],
    ['7 bytes', Buffer.alloc(7), /expected at least 8 bytes, received 7/],
    ['an empty header', withLength(0), /malformed JSON/],
    ['a header past the end', withLength(3, Buffer.from('{}')), /ends after the file of 10 bytes/],
    ['a header above 64 MiB', withLength(2 ** 26 + 1), /at most 67108864 bytes, received 67108865/],
    ['a length of 2^63', withLength(2n ** 63n), /received 9223372036854775808/],
    ['a length of 2^64 - 1', withLength(2n ** 64n - 1n), /received 18446744073709551615/],
  ]
  for (const [what, content, reason] of cases) await rejects(t, readFile(content), reason, what)

  for (const dataBytes of [0, 2, 3, 5, 6, 4096]) {
    const header = { x: f32([1], 0, 4) }
    const reason = new RegExp(`the tensors take 4 bytes, the file holds ${dataBytes}`)
    await rejects(t, read(header, dataBytes), reason, `${dataBytes} bytes of data for 4`)
  }
})

t.test('a header that is not the JSON object it should be', async t => {
  const x = JSON.stringify(f32([1], 0, 4)).slice(1, -1)
  const cases: [string, string | Buffer][] = [
    ['space only', '   '],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['a byte order mark', '\ufeff{}'],
    ['a comment', '/* */{}'],
    ['single quotes', "{'x':1}"],
    ['NaN', '{"x":NaN}'],
    ['a raw control character', '{"x\n":1}'],
    ['a NUL behind it', '{}\0'],
    ['a second value', '{}{}'],
    ['an array', '[]'],
    ['a string', '"x"'],
    ['null', 'null'],
    ['nesting of 200', `{"x":${'['.repeat(200)}${']'.repeat(200)}}`],
    ['a lone surrogate', '{"\\ud800":1}'],
    ['equal names', `{"x":{${x}},"x":{${x}}}`],
    ['equal names after unescaping', `{"x":{${x}},"\\u0078":{${x}}}`],
    ['metadata twice', '{"__metadata__":{},"__metadata__":{}}'],
    ['dtype twice', `{"x":{"dtype":"F32",${x}}}`],
    ['shape twice', `{"x":{"shape":[1],${x}}}`],
    ['data_offsets twice', `{"x":{"data_offsets":[0,4],${x}}}`],
  ]
  for (const [what, header] of cases) await rejects(t, read(header, 4), /JSON/, what)
})

t.test('a number that is not plain digits', async t => {
  for (const number of ['-1', '-0', '1.0', '1e0', '1E0', '01', '+1', '0x1', '1.5']) {
    for (const [shape, end] of [
      [`[${number}]`, '4'],
      ['[1]', number],
    ]) {
      const header = `{"x":{"dtype":"F32","shape":${shape},"data_offsets":[0,${end}]}}`
      await rejects(t, read(header, 4), /malformed JSON/, header)
    }
  }
  for (const number of ['9007199254740992', '18446744073709551616', '"1"', 'null', 'true', '[1]']) {
    const shape = `{"x":{"dtype":"F32","shape":[${number}],"data_offsets":[0,4]}}`
    await rejects(t, read(shape, 4), /expected shape to be up to 8 integers/, number)
    const offset = `{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,${number}]}}`
    await rejects(t, read(offset, 4), /expected data_offsets to be two integers/, number)
  }
})

t.test('a type that is newer than the reader', async t => {
  for (const [dtype, shape, bytes] of [
    ['F4', [8], 4],
    ['F8_E8M0', [3], 3],
    ['C64', [2], 16],
  ] as const) {
    const { tensors } = await read({ x: { dtype, shape, data_offsets: [0, bytes] } }, bytes)
    t.match(tensors.get('x'), { dtype, shape, byteLength: bytes })
  }
})

t.test('text in place of the file is named', async t => {
  const pointer =
    'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 123456789\n'
  const cases: [string, RegExp][] = [
    [pointer, /it is a Git LFS pointer, not the file itself; run: git lfs pull/],
    ['<!DOCTYPE html>\n<html>…</html>', /it is a web page: the download has failed/],
    ['Entry not found', /it is text that begins with "Entry not found"/],
  ]
  for (const [content, reason] of cases)
    await rejects(t, readFile(Buffer.from(content)), reason, content)
})

t.test('a tensor or metadata of the wrong form', async t => {
  const cases: [string, object, RegExp][] = [
    [
      'metadata with a number',
      { __metadata__: { a: 1 } },
      /__metadata__: expected "a" to be a str/,
    ],
    ['metadata with an object', { __metadata__: { a: {} } }, /received an object/],
    ['metadata in an array', { __metadata__: ['a'] }, /__metadata__: expected an object/],
    ['metadata as a string', { __metadata__: 'a' }, /__metadata__: expected an object/],
    ['an empty name', { '': f32([1], 0, 4) }, /expected a tensor name, received ""/],
    ['a NUL in a name', { 'x\0': f32([1], 0, 4) }, /expected a tensor name/],
    ['a tensor that is a number', { x: 1 }, /tensor "x": expected an object, received 1/],
    ['a tensor that is an array', { x: [1] }, /expected an object, received an array of 1/],
    ['no dtype', { x: { shape: [1], data_offsets: [0, 4] } }, /expected dtype .* undefined/],
    ['no shape', { x: { dtype: 'F32', data_offsets: [0, 4] } }, /expected shape .* undefined/],
    ['no data_offsets', { x: { dtype: 'F32', shape: [1] } }, /expected data_offsets .* undefined/],
    ['a lower-case dtype', { x: { ...f32([1], 0, 4), dtype: 'f32' } }, /expected dtype/],
    ['an inherited dtype', { x: { ...f32([1], 0, 4), dtype: 'toString' } }, /expected dtype/],
    ['a newer dtype from end to begin', { x: { ...f32([8], 4, 0), dtype: 'F4' } }, /not 4 to 0/],
    ['a shape that is a number', { x: f32(1, 0, 4) }, /expected shape/],
    ['rank 9', { x: f32(new Array(9).fill(1), 0, 4) }, /expected shape .* an array of 9/],
    ['one offset', { x: { ...f32([1], 0, 4), data_offsets: [0] } }, /expected data_offsets/],
    ['three offsets', { x: { ...f32([1], 0, 4), data_offsets: [0, 4, 4] } }, /expected data_off/],
    ['an end before the begin', { x: f32([1], 4, 0) }, /takes 4 bytes, not 4 to 0/],
    ['too few bytes', { x: f32([2], 0, 4) }, /F32 \[2\] takes 8 bytes, not 0 to 4/],
    ['too many bytes', { x: f32([0], 0, 4) }, /takes 0 bytes/],
    ['a product that overflows', { x: f32([2 ** 32, 2 ** 32, 0], 0, 4) }, /takes more than 2\^53/],
    ['an element size that overflows', { x: f32([2 ** 52], 0, 4) }, /takes more than 2\^53/],
  ]
  for (const [what, header, reason] of cases) await rejects(t, read(header, 4), reason, what)
})

t.test('every byte of the data belongs to one tensor', async t => {
  const cases: [string, object, RegExp][] = [
    ['a hole at the start', { x: f32([1], 4, 8) }, /"x" begins at byte 4 .* end at 0/],
    [
      'a hole between',
      { x: f32([1], 0, 4), y: f32([0], 8, 8) },
      /"y" begins at byte 8 .* end at 4/,
    ],
    ['a hole at the end', { x: f32([1], 0, 4) }, /take 4 bytes, the file holds 8/],
    ['an overlap', { x: f32([2], 0, 8), y: f32([1], 4, 8) }, /"y" begins at byte 4 .* end at 8/],
    ['two tensors in one place', { x: f32([2], 0, 8), y: f32([2], 0, 8) }, /begins at byte 0/],
    ['a tensor past the end', { x: f32([4], 0, 16) }, /take 16 bytes, the file holds 8/],
    [
      'an empty one past the end',
      { x: f32([2], 0, 8), y: f32([0], 12, 12) },
      /"y" begins at byte 12/,
    ],
  ]
  for (const [what, header, reason] of cases) await rejects(t, read(header, 8), reason, what)
})

t.test('an encoded header is one that can be read', async t => {
  const tensors = [
    { name: 'a', dtype: 'F32', shape: [2, 3] },
    { name: 'b', dtype: 'I8', shape: [5] },
    { name: 'c', dtype: 'F16', shape: [] },
  ] as const
  for (let padding = 0; padding < 8; padding++) {
    const header = encodeSafetensorsHeader(tensors, { format: 'p'.repeat(padding) })
    t.equal(header.length % 8, 0)
    const parsed = await readFile(Buffer.concat([header, Buffer.alloc(24 + 5 + 2)]))
    t.same(
      [...parsed.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
      tensors,
    )
    t.same(
      [...parsed.tensors.values()].map(({ offset }) => offset - header.length),
      [0, 24, 29],
    )
    t.equal(parsed.metadata.get('format')?.length, padding)
  }
  t.equal(byteLengthOf({ dtype: 'F64', shape: [3, 5] }), 120)
})
