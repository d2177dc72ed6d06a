import assert from 'node:assert/strict'
import * as library from '@huggingface/tokenizers'
import fc from 'fast-check'
import t from 'tap'
import { parsePreTokenizer } from '../lib/pre-tokenizer.js'

const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers })
const split = (pattern: object, changes = {}) => {
  return { type: 'Split', pattern, behavior: 'Isolated', invert: false, ...changes }
}
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true }
const wholeBytes = { type: 'ByteLevel', add_prefix_space: true, use_regex: false }
const wordPattern = { Regex: "'s|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+" }
const metaspace = (prepend_scheme: string) => {
  return { type: 'Metaspace', replacement: '\u2581', prepend_scheme, split: false }
}

const preTokenizers = {
  none: null,
  ByteLevel: byteLevel,
  'ByteLevel, whole': wholeBytes,
  'Metaspace, always': metaspace('always'),
  'Metaspace, first': metaspace('first'),
  'Metaspace, never': metaspace('never'),
  'Split, isolated': split(wordPattern),
  'Split, at a text': split({ String: 'a' }),
  'Split, removed': split({ String: ' ' }, { behavior: 'Removed' }),
  'Split, inverted': split({ Regex: '\\p{L}+' }, { invert: true }),
  Digits: { type: 'Digits', individual_digits: true },
  Punctuation: { type: 'Punctuation', behavior: 'Isolated' },
  Whitespace: { type: 'Whitespace' },
  'a sequence': sequence(
    { type: 'Digits', individual_digits: false },
    split(wordPattern),
    wholeBytes,
  ),
}
const text = fc.string({
  unit: fc.constantFrom(...'ab  12\n\t._\u00e9\u0301\u4e16\u2581\u{1f999}', "'s"),
  minLength: 1,
})

for (const [name, json] of Object.entries(preTokenizers)) {
  t.test(`as the library has it: ${name}`, async t => {
    const ours = parsePreTokenizer(json, library)
    const { pre_tokenizer: theirs } = new library.Tokenizer(
      {
        normalizer: null,
        pre_tokenizer: json as never,
        model: { type: 'BPE', vocab: {}, merges: [] },
        post_processor: null,
        decoder: null,
        added_tokens: [],
      },
      {},
    )
    const property = fc.property(text, fc.boolean(), (text, isStart) => {
      const section_index = isStart ? 0 : 1
      const expected = theirs === null ? [text] : theirs.pre_tokenize(text, { section_index })
      const words = [...ours.split(text, isStart)]
      assert.deepEqual(
        words.filter(word => word !== ''),
        expected.filter((word: string) => word !== ''),
      )
      if (ours.keepsAll) {
        const bytes = ours.isByteLevel ? Buffer.byteLength(text) : text.length
        assert.ok(words.join('').length >= bytes)
      }
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
  })
}

t.test('what the library does not know of Metaspace', async t => {
  const words = (json: object, text: string, isStart = true) => [
    ...parsePreTokenizer({ type: 'Metaspace', ...json }, library).split(text, isStart),
  ]
  t.same(words({}, 'a  b c'), ['\u2581a', '\u2581', '\u2581b', '\u2581c'], 'split by default')
  t.same(words({ prepend_scheme: 'first', split: true }, ' a b', false), ['\u2581a', '\u2581b'])
  t.same(words({ replacement: '_', split: false }, 'a b'), ['_a_b'])
  t.throws(() => words({ replacement: '__' }, 'a'), /replacement to be one character/)
  t.throws(() => words({ prepend_scheme: 'last' }, 'a'), /prepend_scheme to be always or first/)
})

t.test('only the first word of a sequence is the first', async t => {
  const json = sequence(split({ String: '.' }), metaspace('first'))
  const { split: words } = parsePreTokenizer(json, library)
  t.same([...words('a.b', true)], ['\u2581a', '.', 'b'])
  t.same([...words('a.b', false)], ['a', '.', 'b'])
})

t.test('a long word can be paused in', async t => {
  const words = [...parsePreTokenizer(byteLevel, library).split('\u4e16'.repeat(100_000), true)]
  t.ok(words.filter(word => word === '').length >= 6)
  t.equal(words.join('').length, 300_000)
})
