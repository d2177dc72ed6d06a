import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Corpus } from '../../lib/train/corpus.js'
import { childRunner } from '../helpers/child.js'
import { page, tinyRun } from '../helpers/training.js'

function write(t: Test, name: string, content: string | Buffer): string {
  const file = join(t.testdir(), name)
  writeFileSync(file, content)
  return file
}

const whole = { wordsPerPiece: 1000, minCharacters: 0 }

t.test('documents come from text and from lines of JSON', async t => {
  const dir = t.testdir({
    'a.txt': 'whole file\nis one\n',
    'b.jsonl': '{"text": "one"}\n\n{"content": "two"}\n',
    'c.txt': '\ufeffmarked',
    'd.JSONL': '\ufeff{"text": "three"}\n',
    'e.ndjson': '{"text": "four"}',
  })
  const files = ['a.txt', 'b.jsonl', 'c.txt', 'd.JSONL', 'e.ndjson'].map(name => join(dir, name))
  const corpus = await Corpus.open(files, whole)
  t.same([...corpus], ['whole file\nis one\n', 'one', 'two', 'marked', 'three', 'four'])
  t.equal(corpus.at(2), 'two')
})

t.test('documents are normalised, cut at spaces and filtered', async t => {
  const cut = async (text: string, options: Parameters<typeof Corpus.open>[1]) => {
    const fromText = [...(await Corpus.open([write(t, 'a.txt', text)], options))]
    const line = JSON.stringify({ text })
    t.same([...(await Corpus.open([write(t, 'a.jsonl', line)], options))], fromText)
    return fromText
  }
  const words = (wordsPerPiece: number, minCharacters = 0) => ({ wordsPerPiece, minCharacters })
  t.same(await cut('a b c d e', words(2)), ['a b', 'c d', 'e'])
  t.same(await cut('a  b\nc d', words(2)), ['a ', 'b\nc d'], 'only the space is a delimiter')
  t.same(await cut('cafe\u0301 \u0301', words(1)), ['caf\u00e9', '\u0301'])
  const text = 'abc, de. fgh'
  t.same(await cut(text, words(2, 6)), ['abc, de.'], 'punctuation does not count, inner space does')
  t.same(await cut('a \n\t b', words(9, 4)), [], 'white space counts as one')
  t.same(await cut('word '.repeat(39), {}), [], 'the default asks for 200 characters')
  t.equal((await cut('word '.repeat(5000), {})).length, 3, 'and cuts at 2048 words')
})

t.test('where spaces are rare, a piece ends at other white space', async t => {
  const line = `${'\u6c34'.repeat(20)}\n`
  const options = { wordsPerPiece: 4, minCharacters: 0 }
  for (const [name, content] of [
    ['a.txt', line.repeat(40)],
    ['a.jsonl', JSON.stringify({ text: line.repeat(40) })],
  ] as const) {
    const corpus = await Corpus.open([write(t, name, content)], options)
    const pieces = [...corpus]
    t.ok(pieces.length >= 7 && pieces.length <= 40, `${pieces.length} pieces of ${name}`)
    t.ok(pieces.every(piece => !piece.startsWith('\n') && piece.length < 200))
    t.equal([...corpus.withSpaces()].join(''), line.repeat(40), 'nothing is lost')
    t.equal(pieces.join('\n'), line.repeat(40))
  }
  const mixed = 'a b\n'.padEnd(140, 'c')
  const [first, second] = await Corpus.open([write(t, 'b.txt', `${mixed} d e f g`)], options)
  t.same([first, second], ['a b', `${mixed.slice(4)} d e f`], 'spaces behind the cut count on')
})

t.test('a file of another kind is named', async t => {
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n'
  const utf16 = Buffer.from('\ufeffsome words', 'utf16le')
  const cases: [string, string | Buffer, RegExp][] = [
    ['a.csv', 'text\nword\n', /a.csv: expected text, or JSON objects in lines .* not a table/],
    ['a.Parquet', 'PAR1', /a.Parquet: .*not a table/],
    ['a.txt', pointer, /a.txt: it is a Git LFS pointer, not the file itself; run: git lfs pull/],
    ['a.jsonl', pointer, /a Git LFS pointer/],
    ['b.txt', utf16, /expected UTF-8 text, received UTF-16/],
    ['c.txt', Buffer.from([0x61, 0xff]), /expected UTF-8 text/],
    ['d.json', '[\n  {"text": "one"}\n]', /d.json:1: malformed JSON/],
  ]
  for (const [name, content, message] of cases) {
    await t.rejects(Corpus.open([write(t, name, content)], whole), {
      code: 'INVALID_DATA',
      message,
    })
  }
})

t.test('words are cut the same wherever the chunks of a file end', async t => {
  const text = 'Ünï 東京 ab '.repeat(150_000)
  const corpus = await Corpus.open([write(t, 'long.txt', text)], {
    wordsPerPiece: 100_001,
    minCharacters: 0,
  })
  t.equal(corpus.length, 5)
  t.equal([...corpus.withSpaces()].join(''), text)
  t.equal([...corpus].join(' '), text)
})

t.test('a file that has changed', async t => {
  const file = write(t, 'a.txt', 'some words')
  const corpus = await Corpus.open([file], whole)
  writeFileSync(file, 'fewer')
  t.throws(() => corpus.at(0), { code: 'IO_ERROR', message: /a.txt: it has become shorter/ })
})

t.test('a line without an end', async t => {
  const file = write(t, 'endless.txt', Buffer.alloc(2 ** 26 + 1, 'x'))
  await t.rejects(Corpus.open([file]), {
    code: 'INVALID_DATA',
    message:
      /endless.txt: expected white space, or the end of a line, in the 67108864 bytes from byte 0/,
  })
})

t.test('a corpus larger than memory', async t => {
  const dir = t.testdir({ child: {}, run: {} })
  const options = tinyRun(join(dir, 'run'), { steps: 2, minCharacters: 0 })
  const megabytes = 100
  const file = join(dir, 'large.txt')
  writeFileSync(file, page.repeat(Math.ceil((megabytes * 1e6) / page.length)))
  const { result, exit } = await childRunner(join(dir, 'child'))(
    async ({ train }, options) => {
      let steps = 0
      for await (const { step } of train(options)) steps = step
      return steps
    },
    [{ ...options, data: [file] }],
    { flags: [`--max-old-space-size=${megabytes / 2}`] },
  )
  t.same({ result, exit }, { result: 2, exit: 0 })
})
