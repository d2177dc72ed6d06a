import assert from 'node:assert/strict'
import * as library from '@huggingface/tokenizers'
import fc from 'fast-check'
import t from 'tap'
import { parseNormalizer, startsAnew } from '../lib/normalizer.js'
import { finish } from '../lib/steps.js'

const sequence = (...normalizers: object[]) => ({ type: 'Sequence', normalizers })
const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content })
const normalizers = {
  none: null,
  prepend: { type: 'Prepend', prepend: '\u2581' },
  LLaMA: sequence({ type: 'Prepend', prepend: '\u2581' }, replace({ String: ' ' }, '\u2581')),
  'Replace, a pattern': replace({ Regex: ' +' }, '_'),
  'Replace, several characters': replace({ String: 'ab' }, ''),
  NFC: { type: 'NFC' },
  NFD: { type: 'NFD' },
  NFKC: { type: 'NFKC' },
  NFKD: { type: 'NFKD' },
  others: sequence({ type: 'Lowercase' }, { type: 'Strip', strip_left: true }),
}
const text = fc.string({
  unit: fc.constantFrom(
    ...'ab \u00e9e\u0301\u0327\ufb01\u1f82\u03b1\u0313\u1100\u1161\uac00\u11a8\u304b\u3099\u4e16A',
  ),
  minLength: 1,
})

for (const [name, json] of Object.entries(normalizers)) {
  t.test(`as the library has it: ${name}`, async t => {
    const ours = parseNormalizer(json, library)
    const { normalizer } = new library.Tokenizer(
      {
        normalizer: json as never,
        pre_tokenizer: null,
        model: { type: 'BPE', vocab: {}, merges: [] },
        post_processor: null,
        decoder: null,
        added_tokens: [],
      },
      {},
    )
    const property = fc.property(text, text => {
      const expected = normalizer === null ? text : normalizer.normalize(text)
      assert.equal(finish(ours.normalize(text)), expected)
      assert.ok(text.length <= Math.max(1, expected.length) * ours.shrinks)
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
  })
}

t.test('long texts have the same form, whatever stands where they are cut', async t => {
  const property = fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), parts => {
    const long = parts.join('').repeat(3000)
    for (const type of ['NFC', 'NFD', 'NFKC', 'NFKD']) {
      const { normalize } = parseNormalizer({ type }, library)
      assert.equal(finish(normalize(long)), long.normalize(type))
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 30 }))
})

t.test('no form of Unicode changes where a text may be cut', async t => {
  const borders = Array.from({ length: 0x10000 }, (_, unit) => String.fromCharCode(unit)).filter(
    unit => startsAnew.test(unit),
  )
  t.ok(borders.length > 30_000)
  const codePoint = fc.integer({ min: 0, max: 0x10ffff }).map(code => String.fromCodePoint(code))
  const before = fc.array(fc.oneof(codePoint, fc.constantFrom(...borders)), { maxLength: 4 })
  const property = fc.property(
    before,
    fc.constantFrom(...borders),
    text,
    (before, border, rest) => {
      const [a, b] = [before.join('').toWellFormed(), border + rest]
      for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD']) {
        assert.equal((a + b).normalize(form), a.normalize(form) + b.normalize(form))
      }
    },
  )
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000 }))
  for (const form of ['NFC', 'NFKC']) {
    const joins = borders.filter(border => {
      return ['a', '\u1100', '\uac00', '\u304b', '\u0915'].some(
        letter =>
          (letter + border).normalize(form) !== letter.normalize(form) + border.normalize(form),
      )
    })
    t.same(joins, [])
  }
})
