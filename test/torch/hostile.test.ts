import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { torchToSafetensors } from '../../lib/convert/index.js'
import { readStateDict } from '../../lib/torch/read-state-dict.js'
import {
  dict,
  integer,
  pickle,
  tensor,
  text,
  tuple,
  writeZip,
  type ZipPart,
} from '../helpers/torch-zip.js'

const dir = t.testdir()
const file = join(dir, 'hostile.pt')
const out = join(dir, 'out.safetensors')
const canary = join(dir, 'canary')
const random = randomNumbers(20241128)
const intact = join(import.meta.dirname, 'data', 'views.pt')

type Hostile = [name: string, write: () => void]

/** A file whose only fault is its pickle. */
function withPickle(name: string, ...parts: (string | Buffer)[]): Hostile {
  return [name, () => writeZip(file, withParts(pickle(...parts)))]
}

function withParts(data: Buffer): ZipPart[] {
  return [
    { name: 'archive/data.pkl', data },
    { name: 'archive/data/0', data: Buffer.alloc(24) },
  ]
}

const harmless = pickle(dict({ w: tensor() }), '.')

/** A file whose only fault is its zip. */
function withZip(name: string, change: (parts: [ZipPart, ZipPart]) => ZipPart[]): Hostile {
  return [name, () => writeZip(file, change(withParts(harmless) as [ZipPart, ZipPart]))]
}

const touch = `touch ${canary}`
const callees: [name: string, args: Buffer][] = [
  ...[
    'os.system',
    'posix.system',
    'nt.system',
    'os.popen',
    'subprocess.call',
    'commands.getoutput',
  ].map((name): [string, Buffer] => [name, tuple(text(touch))]),
  ['subprocess.Popen', tuple(tuple(text('touch'), text(canary)))],
  ...['builtins.eval', '__builtin__.eval', 'builtins.exec', 'builtins.compile'].map(
    (name): [string, Buffer] => [name, tuple(text(`__import__("os").system("${touch}")`))],
  ),
  ['builtins.open', tuple(text(canary), text('w'))],
  ['builtins.getattr', tuple(text('x'), text('__class__'))],
  ['importlib.import_module', tuple(text('os'))],
  ['runpy._run_code', tuple(text('import os'), '}')],
  ['webbrowser.open', tuple(text('file:///'))],
  ['torch.load', tuple(text(file))],
  ['torch.hub.load', tuple(text('a/b'), text('c'))],
  ['torch.utils.collect_env.run', tuple(text(touch))],
  ['torch.FloatStorage', tuple(integer(4))],
  ['torch._utils._rebuild_sparse_tensor', tuple(integer(4))],
  ['collections.OrderedDict', tuple(text('x'))],
  ['collections.defaultdict', tuple('cos\nsystem\n')],
  ['child_process.execSync', tuple(text(touch))],
  ['constructor.constructor', tuple(text('process.exit()'))],
  ['__proto__.toString', tuple()],
  ['hasOwnProperty.call', tuple()],
]

const global = (name: string) => {
  const at = name.lastIndexOf('.')
  return `c${name.slice(0, at)}\n${name.slice(at + 1)}\n`
}

const calls: Hostile[] = callees.flatMap(([name, args]) => {
  const call = Buffer.concat([Buffer.from(global(name)), args, Buffer.from('R')])
  const [module, attribute] = [name.slice(0, name.lastIndexOf('.')), name.split('.').at(-1)!]
  return [
    withPickle(`REDUCE of ${name}`, call, '.'),
    withPickle(`REDUCE of ${name} beside a tensor`, dict({ w: tensor(), x: call }), '.'),
    withPickle(`INST of ${name}`, '(', args, `i${module}\n${attribute}\n`, '.'),
    withPickle(`NEWOBJ of ${name}`, global(name), args, '\x81', '.'),
  ]
})

const opcodes: Hostile[] = [
  withPickle('OBJ', '(', global('os.system'), text(touch), 'o', '.'),
  withPickle('NEWOBJ of what is known', 'ccollections\nOrderedDict\n)\x81.'),
  withPickle('NEWOBJ_EX', 'ccollections\nOrderedDict\n)}\x92.'),
  withPickle('STACK_GLOBAL', text('os'), text('system'), '\x93', tuple(text(touch)), 'R.'),
  withPickle('EXT1', '\x82\x01', tuple(text(touch)), 'R.'),
  withPickle('EXT2', '\x83\x01\x00', '.'),
  withPickle('EXT4', '\x84\x01\x00\x00\x00', '.'),
  withPickle('PERSID', 'P0\n.'),
  withPickle(
    'BUILD of a tensor',
    dict({ w: Buffer.concat([tensor(), dict({ x: 'N' }), Buffer.from('b')]) }),
    '.',
  ),
  withPickle('BUILD of a list', ']', dict({ __class__: 'N' }), 'b.'),
  withPickle('BUILD of a class', 'ccollections\nOrderedDict\n', dict({ __reduce__: 'N' }), 'b.'),
  withPickle('BUILD without a state', '}Nb.'),
  withPickle('REDUCE of a text', text('os.system'), tuple(text(touch)), 'R.'),
  withPickle('REDUCE of a tensor', tensor(), ')R.'),
  withPickle('REDUCE without arguments', 'ccollections\nOrderedDict\nNR.'),
  withPickle('REDUCE of a storage', 'ctorch\nFloatStorage\n)R.'),
  withPickle('GLOBAL without an end', `c${'x'.repeat(1000)}`),
  withPickle('GLOBAL of half a name', 'cos\nsystem'),
  withPickle('an empty pickle'),
  withPickle('STOP alone', '.'),
  withPickle('no STOP', 'N'),
  withPickle('POP of what is not there', '0.'),
  withPickle('SETITEM of a list', ']', text('a'), 'Ns.'),
  withPickle('SETITEMS of an odd number', '}(', text('a'), 'u.'),
  withPickle('APPEND to a dict', '}Na.'),
  withPickle('TUPLE without a mark', 'NNt.'),
  withPickle('TUPLE2 over a mark', 'N(N\x86.'),
  withPickle('BINGET of nothing', 'h\x07.'),
  withPickle('LONG_BINGET of nothing', 'j\xff\xff\xff\xff.'),
  withPickle('BINPUT of nothing', 'q\x00.'),
  withPickle('BINPERSID of nothing', 'Q.'),
  withPickle('text that is not UTF-8', dict({ w: 'X\x02\x00\x00\x00\xff\xfe' }), '.'),
]

const loops: Hostile[] = [
  withPickle('a list that holds itself', ']q\x00h\x00a.'),
  withPickle('a dict that holds itself', '}q\x00', text('model'), 'h\x00s.'),
  withPickle(
    'a dict that holds itself under every name',
    '}q\x00(',
    ...['model_state_dict', 'state_dict', 'model', 'module', 'ema_state_dict'].flatMap(key => [
      text(key),
      'h\x00',
    ]),
    'u.',
  ),
  withPickle('two lists that hold each other', ']q\x00]q\x01h\x00ah\x01a.'),
  withPickle('a dict as its own key', '}q\x00h\x00h\x00s.'),
  withPickle('a tuple that holds its list', ']q\x00h\x00\x85a.'),
  withPickle(
    'a shape that holds itself',
    dict({
      w: Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n(]q\x00h\x00ah\x00h\x00h\x00tR', 'latin1'),
    }),
    '.',
  ),
  withPickle(
    'lists of twice the last, 60 times',
    ']q\x00',
    ...repeat(60, i => `](h${byte(i)}h${byte(i)}eq${byte(i + 1)}`),
    '.',
  ),
]

const nests: Hostile[] = ['(', ']', '}', ')', 'N', '(N', ']q\x00', '}X\x00\x00\x00\x00'].flatMap(
  opcode =>
    [1e3, 1e5, 1e6].map(count =>
      withPickle(`${count} of ${JSON.stringify(opcode)}`, opcode.repeat(count), '.'),
    ),
)
nests.push(
  withPickle('lists in lists, 100000 deep', ']'.repeat(1e5), 'a'.repeat(1e5 - 1), '.'),
  withPickle('tuples in tuples, 200000 deep', ')', '\x85'.repeat(2e5), '.'),
  withPickle('dicts in dicts, 50000 deep', dict({}), ...repeat(5e4, () => ''), '.'),
  withPickle(
    'models in models, 20000 deep',
    ...repeat(2e4, () => Buffer.concat([Buffer.from('}'), text('model')])),
    'N',
    's'.repeat(2e4),
    '.',
  ),
)

const huge: Hostile[] = [
  withPickle('a text of 4 GB', 'X\xff\xff\xff\xff.'),
  withPickle('a text of 2 GB', 'X\xff\xff\xff\x7f.'),
  withPickle('LONG4 of 2 GB', '\x8b\xff\xff\xff\x7f.'),
  withPickle('BINUNICODE8', '\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.'),
  withPickle('BINBYTES8', '\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.'),
  withPickle('LONG1 that is not there', '\x8a\xff.'),
  ...(
    [
      ['a storage of 2^53', { length: 2 ** 53 }],
      ['a storage of more than the entry', { length: 7 }],
      ['a storage of less than the entry', { length: 5 }],
      ['a storage of another type', { storage: 'DoubleStorage' }],
      ['a storage that is not there', { key: '1' }],
      ['a storage of another folder', { key: '../data.pkl' }],
      ['a storage named __proto__', { key: '__proto__' }],
      ['an axis of 2^53', { shape: [2 ** 53, 3] }],
      ['a tensor of 2^80', { shape: [2 ** 40, 2 ** 40], strides: [0, 0] }],
      ['a tensor that repeats its numbers', { shape: [1000, 1000], strides: [0, 0] }],
      ['a negative axis', { shape: [-2, 3] }],
      ['a negative stride', { strides: [-3, 1] }],
      ['a stride of 2^52', { strides: [2 ** 52, 1] }],
      ['a negative offset', { offset: -1 }],
      ['an offset of 1', { offset: 1 }],
      ['an offset of 2^53', { offset: 2 ** 53 }],
      ['nine axes', { shape: new Array(9).fill(1), strides: new Array(9).fill(1) }],
      ['1000 axes', { shape: new Array(1000).fill(1), strides: new Array(1000).fill(1) }],
      ['more axes than strides', { strides: [1] }],
      ['a type that safetensors has not', { storage: 'ComplexFloatStorage' }],
    ] as const
  ).map(([name, options]) =>
    withPickle(name, dict({ w: tensor(options as Parameters<typeof tensor>[0]) }), '.'),
  ),
  withPickle('a name of nothing', dict({ '': tensor() }), '.'),
  withPickle('a name with NUL', dict({ 'a\0b': tensor() }), '.'),
  withPickle('the name of the metadata', dict({ __metadata__: tensor() }), '.'),
  withPickle('a number as a name', '}', integer(1), tensor(), 's.'),
]

const protocols: Hostile[] = [0, 1, 3, 4, 5, 6, 255].map(protocol => [
  `protocol ${protocol}`,
  () =>
    writeZip(file, withParts(Buffer.concat([Buffer.from([0x80, protocol]), harmless.subarray(2)]))),
])
protocols.push(
  [
    'protocol 0 without PROTO',
    () => writeZip(file, withParts(Buffer.from(`cos\nsystem\n(S'${touch}'\ntR.`))),
  ],
  [
    'protocol 4 with a frame',
    () => writeZip(file, withParts(Buffer.from('\x80\x04\x95\x01\0\0\0\0\0\0\0N.', 'latin1'))),
  ],
  withPickle('PROTO again', '\x80\x04N.'),
)

const zips: Hostile[] = [
  ...[
    '../data/0',
    '/data/0',
    'a/../data/0',
    'a//0',
    'a\\0',
    'a/\0',
    './data/0',
    'a/',
    '',
    '..',
  ].map(name =>
    withZip(`an entry ${JSON.stringify(name)}`, parts => [
      ...parts,
      { name, data: Buffer.alloc(1) },
    ]),
  ),
  withZip('two entries of one name', ([first, second]) => [first, second, second]),
  withZip('two pickles', parts => [...parts, { name: 'b/data.pkl', data: harmless }]),
  withZip('no pickle', parts => parts.slice(1)),
  withZip('no entries', () => []),
  withZip('numbers inside of the pickle', ([first, second]) => [first, { ...second, offset: 0 }]),
  withZip('numbers behind the end', ([first, second]) => [first, { ...second, offset: 1e6 }]),
  withZip('numbers at 2^60', ([first, second]) => [first, { ...second, offset: 2 ** 60 }]),
  withZip('more numbers than there are', ([first, second]) => [first, { ...second, length: 1000 }]),
  withZip('2^60 numbers', ([first, second]) => [first, { ...second, length: 2 ** 60 }]),
  withZip('a pickle of 5 MB', ([first, second]) => [{ ...first, data: 5_000_000 }, second]),
  withZip('an entry under another name', ([first, second]) => [
    first,
    { ...second, localName: 'archive/data/1' },
  ]),
  withZip('a pickle under another name', ([first, second]) => [
    { ...first, localName: 'archive/data.pk_' },
    second,
  ]),
  withZip('an entry moved by its header', ([first, second]) => [
    { ...first, padding: 60 },
    { ...second, length: 90 },
  ]),
  withZip('compressed numbers', ([first, second]) => [first, { ...second, method: 8 }]),
  withZip('a compressed pickle', ([first, second]) => [{ ...first, method: 8 }, second]),
  withZip('an encrypted pickle', ([first, second]) => [{ ...first, flags: 1 }, second]),
  withZip('big-endian numbers', parts => [
    ...parts,
    { name: 'archive/byteorder', data: Buffer.from('big') },
  ]),
  withZip('an order of bytes that is none', parts => [
    ...parts,
    { name: 'archive/byteorder', data: 1000 },
  ]),
]

/** Bytes of the end records and of the directory that tell a lie, by their distance from the end. */
const lies: Hostile[] = [10, 12, 6, 22 + 20 - 8, 22 + 20 + 24, 22 + 20 + 16, 22 + 20 + 8].map(
  distance => [
    `a lie ${distance} bytes before the end`,
    () => {
      writeZip(file, withParts(harmless))
      const bytes = readFileSync(file)
      bytes.writeUInt32LE(0xfffffff0, bytes.length - distance)
      writeFileSync(file, bytes)
    },
  ],
)

const truncated: Hostile[] = repeat(20, i => [
  `cut short, ${i}`,
  () => {
    const bytes = readFileSync(intact)
    writeFileSync(file, bytes.subarray(0, random(bytes.length)))
  },
])

const noise: Hostile[] = repeat(20, i =>
  withPickle(`random opcodes, ${i}`, Buffer.from(repeat(1000, () => random(256))), '.'),
)

t.test('files that were made to do harm are refused, at once, and nothing is executed', async t => {
  const all = [
    ...calls,
    ...opcodes,
    ...loops,
    ...nests,
    ...huge,
    ...protocols,
    ...zips,
    ...lies,
    ...truncated,
    ...noise,
  ]
  t.ok(all.length >= 200, `${all.length} files`)
  const before = process.memoryUsage().rss
  for (const [name, write] of all) {
    write()
    const begin = process.cpuUsage()
    const error = await torchToSafetensors(file, out).catch(error => error)
    const { user, system } = process.cpuUsage(begin)
    t.match(error, { name: 'OpenELMError', code: 'INVALID_CHECKPOINT' }, name)
    t.ok(error?.message?.startsWith(`${file}: `), `${name}: ${error?.message}`)
    if ((user + system) / 1000 > 500) t.fail(`${name} took ${(user + system) / 1000} ms`)
  }
  const grown = process.memoryUsage().rss - before
  t.ok(grown < 300e6, `${grown} bytes more`)
  t.notOk(existsSync(canary) || existsSync(out))
})

t.test('any byte of a file changed: refused, or read', async t => {
  const bytes = readFileSync(intact)
  const outcomes = { read: 0, refused: 0 }
  for (let i = 0; i < 1000; i++) {
    const changed = Buffer.from(bytes)
    changed[random(bytes.length)] = random(256)
    writeFileSync(file, changed)
    try {
      await readStateDict(file)
      outcomes.read++
    } catch (error) {
      t.match(error, { code: 'INVALID_CHECKPOINT' })
      outcomes.refused++
    }
  }
  t.ok(outcomes.read > 100 && outcomes.refused > 100, JSON.stringify(outcomes))
})

function repeat<Item>(count: number, make: (i: number) => Item): Item[] {
  return Array.from({ length: count }, (_, i) => make(i))
}

function byte(value: number): string {
  return String.fromCharCode(value)
}

function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
