import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import llama from 'llama-tokenizer-js'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { byteLevelCharacters } from '../lib/byte-level.js'
import { loadTokenizer, type Tokenizer } from '../lib/tokenizer.js'

interface Golden {
  text: string
  llama: number[]
  stories260K: number[]
}

const golden: Golden[] = JSON.parse(
  readFileSync(new URL('data/sentencepiece-golden.json', import.meta.url), 'utf8'),
)

const ends = { bosTokenId: 1, eosTokenId: 2 }
const tokenizer = await loadTokenizer(undefined, { vocabSize: 32000, ...ends })

/** What comes back of a text: SentencePiece has no U+2581 of its own, UTF-8 no lone surrogates. */
function readable(text: string): string {
  return text.replaceAll('\u2581', ' ').replace(/\p{Surrogate}/gu, '\ufffd')
}

function streamed(tokenizer: Tokenizer, tokens: number[], continuation = false): string[] {
  const stream = tokenizer.stream({ continuation })
  return [...tokens.map(token => stream.push(token)), stream.end()]
}

t.test('ids are those of SentencePiece, after one BOS', async t => {
  t.ok(golden.length >= 60)
  for (const [i, { text, llama }] of golden.entries()) {
    t.same(tokenizer.encode(text), [1, ...llama], `text ${i}`)
    t.same(tokenizer.encode(text, { addBos: false }), llama)
  }
})

t.test('the same with a tokenizer.json', async t => {
  // That of stories260K in karpathy/tinyllamas, whose merges came from SentencePiece.
  const file = join(import.meta.dirname, 'data', 'stories260K-tokenizer.json')
  const stories = await loadTokenizer(file, { vocabSize: 512, ...ends })
  for (const [i, { text, stories260K }] of golden.entries()) {
    t.same(stories.encode(text), [1, ...stories260K], `text ${i}`)
    t.equal(stories.decode(stories.encode(text)), readable(text))
  }
})

t.test('decoding returns the text', async t => {
  for (const { text } of golden) {
    t.equal(tokenizer.decode(tokenizer.encode(text)), readable(text))
    t.equal(tokenizer.decode(Int32Array.from(tokenizer.encode(text))), readable(text))
  }
})

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: fc.constantFrom(' ', '\n', 'a', 't', 'h', 'e', '=', '1'), maxLength: 80 }),
  fc.array(fc.constantFrom(...llama.vocabById)).map(pieces => pieces.join('')),
)

t.test('any text has the ids of llama-tokenizer-js and comes back', async t => {
  const property = fc.property(text, text => {
    assert.deepEqual(tokenizer.encode(text), text === '' ? [1] : llama.encode(text))
    assert.equal(tokenizer.decode(tokenizer.encode(text)), readable(text))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('lone surrogates are read as U+FFFD', async t => {
  t.same(tokenizer.encode('a\ud800\ud83e\udd99\udc00'), tokenizer.encode('a\ufffd\u{1f999}\ufffd'))
  const surrogates = fc.string({ unit: fc.constantFrom('\ud83e', '\udd99', 'a') })
  const property = fc.property(surrogates, text => {
    assert.equal(tokenizer.decode(tokenizer.encode(text)), readable(text))
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('text never becomes a control token', async t => {
  const text = '<unk><s></s> <s> </s>'
  t.notOk(tokenizer.encode(text, { addBos: false }).some(token => token < 3))

  const json = smallJson()
  json.added_tokens.push({ id: 265, content: '<|end|>', special: true })
  const small = await loadTokenizer(json, { vocabSize: 266, ...ends })
  const likeness = `${text}<|end|><0x41>`
  const tokens = small.encode(likeness)
  t.equal(tokens.lastIndexOf(1), 0)
  t.notOk(tokens.some(token => token === 0 || token === 2 || token === 265))
  t.equal(small.decode(tokens), likeness)
  t.equal(small.decode([...tokens, 265, 2]), likeness)
})

t.test('a merge that would make one is left out', async t => {
  const json = smallJson()
  Object.assign(json.model.vocab, { '<': 265, 's>': 266 })
  json.model.merges.push('< s>')
  const small = await loadTokenizer(json, { vocabSize: 267, ...ends })
  t.equal(small.decode(small.encode('<s>')), '<s>')
})

t.test('control tokens, and ids without a piece, have no text', async t => {
  const padded = await loadTokenizer(undefined, { vocabSize: 32064, ...ends })
  t.equal(padded.vocabSize, 32064)
  t.equal(padded.decode([1, 15043, 0, 2, 32063, 3186, 2]), 'Hello world')
})

t.test('the space in front is dropped from a whole text only', async t => {
  const [, hello, world] = tokenizer.encode('Hello world')
  t.equal(tokenizer.decode([hello!, world!]), 'Hello world')
  t.equal(tokenizer.decode([world!]), 'world')
  t.equal(tokenizer.decode([world!], { continuation: true }), ' world')
  t.same(streamed(tokenizer, [1, hello!, world!]), ['', 'Hello', ' world', ''])
  t.same(streamed(tokenizer, [world!, 2], true), [' world', '', ''])
  t.equal(tokenizer.decode(tokenizer.encode('  two')), '  two')
  t.equal(tokenizer.decode(tokenizer.encode('\ufeffmark')), '\ufeffmark')
})

t.test('a stream holds back the bytes of a character until it is whole', async t => {
  const [, space, ...bytes] = tokenizer.encode('\u{1f999}')
  t.equal(bytes.length, 4)
  t.same(streamed(tokenizer, [space!, ...bytes]), ['', '', '', '', '\u{1f999}', ''])
  t.same(streamed(tokenizer, bytes.slice(0, 3), true), ['', '', '', '\ufffd'])
  t.same(streamed(tokenizer, [...bytes.slice(0, 3), 15043], true), ['', '', '', '\ufffd Hello', ''])
  const property = fc.property(text, text => {
    const chunks = streamed(tokenizer, tokenizer.encode(text))
    assert.equal(chunks.join(''), readable(text))
    assert.ok(!chunks.some(chunk => /\p{Surrogate}/u.test(chunk)))
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('any tokens stream to what they decode to', async t => {
  const byteToken = fc.integer({ min: 3, max: 258 })
  const token = fc.oneof(byteToken, fc.integer({ min: 0, max: 31999 }))
  const property = fc.property(fc.array(token), fc.boolean(), (tokens, continuation) => {
    const decoded = tokenizer.decode(tokens, { continuation })
    assert.equal(streamed(tokenizer, tokens, continuation).join(''), decoded)
    const bytes = tokens.map(token => {
      if (token < 3) return Buffer.alloc(0)
      if (token < 259) return Buffer.of(token - 3)
      return Buffer.from(llama.vocabById[token]!.replaceAll('\u2581', ' '))
    })
    const whole = Buffer.concat(bytes).toString()
    assert.equal(decoded, continuation ? whole : whole.replace(/^ /, ''))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('bad arguments are refused', async t => {
  const invalid = { code: 'INVALID_ARGUMENT' }
  for (const token of [-1, 32000, 1.5, Number.NaN, '5', undefined]) {
    const message = /^expected token to be an integer from 0 to 31999, received /
    t.throws(() => tokenizer.decode([token as number]), { ...invalid, message })
    t.throws(() => tokenizer.stream().push(token as number), { ...invalid, message })
  }
  t.throws(() => tokenizer.encode(5 as never), invalid)
  t.throws(() => tokenizer.encode('', { addBos: 'no' as never }), invalid)
  t.throws(() => tokenizer.decode('5' as never), invalid)
  t.throws(() => tokenizer.stream({ continuation: 1 as never }), invalid)
})

t.test('time grows with the text, not with its square', async t => {
  const random = (alphabet: string) => (length: number) =>
    Array.from({ length }, () => alphabet[Math.floor(Math.random() * alphabet.length)]).join('')
  const kinds = {
    'one letter': (length: number) => 'a'.repeat(length),
    spaces: (length: number) => ' '.repeat(length),
    'one word': random('abcdefghijklmnopqrstuvwxyz'),
    'frequent letters': random('esta'),
    prose: random('abcdefghijklmnopqrstuvwxyz     \n'),
    digits: random('0123456789'),
  }
  for (const [kind, make] of Object.entries(kinds)) {
    const best = (length: number) => {
      const times = Array.from({ length: 4 }, () => {
        const text = make(length)
        // Processor time: the machine may have more to do than this test.
        const start = process.cpuUsage()
        tokenizer.decode(tokenizer.encode(text))
        return process.cpuUsage(start).user
      })
      return Math.min(...times)
    }
    best(10_000)
    const ratio = best(320_000) / best(40_000)
    t.ok(ratio <= 24, `${kind}: 8 times the text takes ${ratio.toFixed(1)} times as long`)
  }
})

/** A tokenizer.json with bytes, a space and the word "the". */
function smallJson() {
  const control = ['<unk>', '<s>', '</s>']
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
  })
  const pieces = [...control, ...bytes, '\u2581', 't', 'h', 'e', 'he', 'the']
  return {
    added_tokens: control.map((content, id) => ({ id, content, special: true })),
    normalizer: null as object | null,
    pre_tokenizer: { type: 'Metaspace', prepend_scheme: 'first', split: false } as object | null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    } as object | null,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ['h e', ['t', 'he']] as (string | string[])[],
      byte_fallback: true,
      unk_token: '<unk>',
    } as Record<string, unknown> & { vocab: Record<string, number>; merges: unknown[] },
  }
}

const smallModel = { vocabSize: 265, ...ends }

t.test('a tokenizer.json is read from its path, its directory or memory', async t => {
  const json = smallJson()
  const directory = t.testdir({ 'tokenizer.json': JSON.stringify(json), other: {} })
  for (const source of [json, directory, join(directory, 'tokenizer.json')]) {
    const small = await loadTokenizer(source, smallModel)
    t.same(small.encode('the the'), [1, 259, 264, 259, 264])
    t.match(small, smallModel)
  }
  const other = await loadTokenizer(join(directory, 'other'), { vocabSize: 32000, ...ends })
  t.same(other.encode('Hello world'), [1, 15043, 3186])
})

t.test('a character that is no piece is its bytes, the unknown token or nothing', async t => {
  const json = smallJson()
  t.same(
    (await loadTokenizer(json, smallModel)).encode('\u00e9\u00e9'),
    [1, 259, 198, 172, 198, 172],
  )
  Object.assign(json.model, { byte_fallback: false, fuse_unk: false })
  t.same((await loadTokenizer(json, smallModel)).encode('\u00e9\u00e9t'), [1, 259, 0, 0, 260])
  json.model.fuse_unk = true
  t.same((await loadTokenizer(json, smallModel)).encode('\u00e9\u00e9t'), [1, 259, 0, 260])
  json.model.unk_token = null
  t.same((await loadTokenizer(json, smallModel)).encode('\u00e9\u00e9t'), [1, 259, 260])
})

t.test('a byte-level vocabulary has the ids and texts of the Hugging Face library', async t => {
  const samples = ['Hello the world', ' x\u0000\u00ad\u00e9', 'tab\t\r\n', '\u4e16\u754c \u{1f999}']
  const end = { id: 0, content: '<|end|>', special: true }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true }
  const json = {
    added_tokens: [end, { id: 1, content: ' ', special: false }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: 'BPE', vocab: { [end.content]: 0 } as Record<string, number>, merges: ['h e'] },
  }
  const split = new HuggingFaceTokenizer(json, {}).pre_tokenizer!
  const alphabet = new Set(samples.flatMap(sample => [...split.pre_tokenize(sample).join('')]))
  for (const piece of [...alphabet, 'he', '\u0120the']) {
    json.model.vocab[piece] = Object.keys(json.model.vocab).length + 1
  }
  const model = { vocabSize: 100, bosTokenId: 0, eosTokenId: 0 }
  for (const ignore_merges of [false, true]) {
    Object.assign(json.model, { ignore_merges })
    const ours = await loadTokenizer(json, model)
    const theirs = new HuggingFaceTokenizer(json, {})
    for (const sample of samples) {
      const tokens = ours.encode(sample, { addBos: false })
      t.same(tokens, theirs.encode(sample).ids)
      t.equal(ours.decode(tokens), sample)
      t.equal(streamed(ours, tokens).join(''), sample)
    }
    t.equal(ours.decode([1, 0, 1]), '  ')
  }
})

t.test('what cannot be used is refused by name', async t => {
  const refused: [(json: ReturnType<typeof smallJson>) => unknown, RegExp][] = [
    [json => Object.assign(json.model, { type: 'Unigram' }), /model.type to be "BPE".*"Unigram"/],
    [json => Object.assign(json.model, { dropout: 0.1 }), /model.dropout to be unset/],
    [json => Object.assign(json.model, { end_of_word_suffix: '</w>' }), /end_of_word_suffix/],
    [json => Object.assign(json.model, { vocab: null }), /model.vocab/],
    [
      json => Object.assign(json.model.vocab, { x: 265 }),
      /one of the 265 of the model, received 265/,
    ],
    [json => Object.assign(json.model.vocab, { x: -1 }), /received -1/],
    [json => Object.assign(json.model.vocab, { x: '5' }), /received "5"/],
    [json => delete json.model.vocab['<0x41>'], /byte tokens to be 256, received 255/],
    [json => Object.assign(json.model, { merges: null }), /model.merges/],
    [json => json.model.merges.push('t h e'), /a merge to be two pieces/],
    [json => json.model.merges.push(['t', 5]), /a merge to be two pieces/],
    [json => json.model.merges.push('t h'), /in model.vocab, received "th"/],
    [json => Object.assign(json, { added_tokens: {} }), /added_tokens/],
    [json => Object.assign(json.added_tokens, [null]), /an added token to be an object/],
    [json => Object.assign(json.added_tokens, [{ id: 1 }]), /content/],
    [json => Object.assign(json.added_tokens, [{ id: -1, content: 'x' }]), /received -1/],
    [
      json => Object.assign(json.added_tokens, [{ id: '5', content: 'x' }]),
      /from 0 up, received "5"/,
    ],
    [json => json.added_tokens.pop(), /BOS and EOS to be added tokens, received "<\/s>"/],
    [
      json => Object.assign(json, { decoder: 'ByteLevel' }),
      /decoder to be an object, received "By/,
    ],
    [json => Object.assign(json, { normalizer: 'NFC' }), /normalizer to be an object/],
    [json => Object.assign(json, { pre_tokenizer: 5 }), /pre_tokenizer to be an object/],
    [json => Object.assign(json, { decoder: { type: 'WordPiece' } }), /received "WordPiece"/],
    [json => Object.assign(json, { decoder: { type: 'Sequence' } }), /decoder.decoders/],
    [json => Object.assign(json, { normalizer: { type: 'No' } }), /Unknown Normalizer type: No/],
    [
      json => Object.assign(json, { pre_tokenizer: { type: 'No' } }),
      /Unknown PreTokenizer type: No/,
    ],
  ]
  for (const [change, message] of refused) {
    const json = smallJson()
    change(json)
    await t.rejects(loadTokenizer(json, smallModel), { code: 'INVALID_TOKENIZER', message })
  }
  await t.rejects(loadTokenizer([], smallModel), { message: /it to be an object/ })
  await t.rejects(loadTokenizer({}, smallModel), { message: /model to be an object/ })
})

t.test('a byte-level file says what it is by its decoder, its pre-tokenizer, or both', async t => {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: true }
  const control = ['<unk>', '<s>', '</s>']
  const pieces = [...control, ...byteLevelCharacters]
  const json = {
    added_tokens: control.map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: byteLevel as object,
    model: { vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])), merges: [] },
  }
  const cut = { type: 'Split', pattern: { String: '.' }, behavior: 'Isolated', invert: false }
  const forms: object[] = [
    { decoder: byteLevel },
    { decoder: { type: 'Sequence', decoders: [byteLevel] } },
    { decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, byteLevel] } },
    { decoder: null },
    {},
    { pre_tokenizer: { type: 'Sequence', pretokenizers: [cut, byteLevel] } },
    { model: { ...json.model, type: 'BPE' } },
  ]
  for (const form of forms) {
    const tokenizer = await loadTokenizer({ ...json, ...form }, { vocabSize: 259, ...ends })
    const text = ' caf\u00e9. \u{1f999}'
    t.equal(tokenizer.decode(tokenizer.encode(text)), text)
    t.equal(tokenizer.encode(text).length, 1 + Buffer.byteLength(text))
  }
})

t.test(
  'an unknown character is fused in its word only, and never with the token itself',
  async t => {
    const json = smallJson()
    json.pre_tokenizer = { type: 'WhitespaceSplit' }
    Object.assign(json.model, { byte_fallback: false, fuse_unk: true })
    const small = await loadTokenizer(json, smallModel)
    t.same(small.encode('zz zz'), [1, 0, 0])
    t.same(small.encode('zz<unk>z', { special: true }), [1, 0, 0, 0])
  },
)

t.test('several tokens may end a text', async t => {
  t.same(tokenizer.eosTokenIds, [2])
  const json = smallJson()
  json.added_tokens.push({ id: 265, content: '<|end|>', special: false })
  const model = { vocabSize: 266, ...ends, eosTokenIds: [265, 2] }
  const small = await loadTokenizer(json, model)
  t.same(small.eosTokenIds, [265, 2])
  t.equal(small.eosTokenId, 2)
  t.notOk(small.encode('<|end|>').includes(265), 'which text never becomes')
})

t.test('texts and token ids can be encoded together', async t => {
  const parts = ['Hello', 2, ' world</s>', 0, '', 1]
  const encode = (text: string) => tokenizer.encode(text, { addBos: false })
  const expected = [1, ...encode('Hello'), 2, ...encode(' world</s>'), 0, 1]
  t.same(tokenizer.encode(parts), expected)
  t.same(await tokenizer.encodeAsync(parts), expected)
  t.same(tokenizer.encode([]), [1])
  t.same(
    tokenizer.specialTokens,
    new Map([
      ['<unk>', 0],
      ['<s>', 1],
      ['</s>', 2],
    ]),
  )

  const json = smallJson()
  const small = await loadTokenizer(json, smallModel)
  t.same(small.encode([2, 'the']), [1, 2, 264], 'only the first text is the beginning')
  t.same(small.encode(['the', 2, 'the']), [1, 259, 264, 2, 264])
  for (const part of [32000, -1, 1.5, null]) {
    t.throws(() => tokenizer.encode(['a', part as number]), {
      code: 'INVALID_ARGUMENT',
      message: /^expected text\[1\] to be an integer from 0 to 31999/,
    })
  }
})

t.test('encodeAsync gives the same ids', async t => {
  const nano = await loadTokenizer(bundledModel('openelm-nano'), { vocabSize: 2048, ...ends })
  const kinds = [
    'It was a fine evening, and\n\n  the ship sailed. '.repeat(4000),
    'a'.repeat(100_000),
    ' '.repeat(100_000),
    '\u4e16\u754c\u{1f999}e\u0301'.repeat(20_000),
    '',
    'short \ud800',
  ]
  for (const text of kinds) {
    t.same(await tokenizer.encodeAsync(text), tokenizer.encode(text))
    if (text.isWellFormed() && text !== '') {
      t.same(tokenizer.encode(text), llama.encode(text), "which are those of LLaMA's")
    }
    t.same(await nano.encodeAsync(text, { addBos: false }), nano.encode(text, { addBos: false }))
    t.equal(nano.decode(nano.encode(text)), text.toWellFormed().normalize('NFC'))
  }
})

t.test('encodeAsync lets the event loop turn, and can be aborted', async t => {
  const text = 'It was a fine evening, and the ship sailed. '.repeat(20_000)
  let turns = 0
  const count = setInterval(() => turns++, 1)
  await tokenizer.encodeAsync(text)
  clearInterval(count)
  t.ok(turns >= 5)

  const controller = new AbortController()
  const reason = new Error('enough')
  const aborted = tokenizer.encodeAsync(text, { signal: controller.signal })
  setImmediate(() => controller.abort(reason))
  await t.rejects(aborted, reason)
  await t.rejects(tokenizer.encodeAsync('', { signal: AbortSignal.abort(reason) }), reason)
  await t.rejects(tokenizer.encodeAsync(5 as never), { code: 'INVALID_ARGUMENT' })
  await t.rejects(tokenizer.encodeAsync('', { signal: {} as never }), { code: 'INVALID_ARGUMENT' })
})

t.test('no token stands for more text than longestToken says', async t => {
  t.equal(tokenizer.longestToken, 16)
  const property = fc.property(text, text => {
    assert.ok(tokenizer.encode(text).length * tokenizer.longestToken >= text.length)
  })
  t.doesNotThrow(() => fc.assert(property))

  const json = smallJson()
  t.equal((await loadTokenizer(json, smallModel)).longestToken, 5, 'of <unk>, no byte token')
  const unlimited = [
    { normalizer: { type: 'Strip', strip_left: true } },
    { normalizer: { type: 'Replace', pattern: { String: 'a' }, content: '' } },
    { pre_tokenizer: { type: 'WhitespaceSplit' } },
    { added_tokens: [...json.added_tokens, { id: 264, content: 'the', rstrip: true }] },
    { model: { ...json.model, byte_fallback: false, fuse_unk: true } },
    { model: { ...json.model, byte_fallback: false, unk_token: null } },
  ]
  for (const changes of unlimited) {
    const { longestToken } = await loadTokenizer({ ...json, ...changes }, smallModel)
    t.equal(longestToken, Number.POSITIVE_INFINITY, JSON.stringify(changes).slice(0, 80))
  }
  const nfc = await loadTokenizer({ ...json, normalizer: { type: 'NFC' } }, smallModel)
  t.equal(nfc.longestToken, 20)
})

t.test('a vocabulary larger than the model is refused', async t => {
  await t.rejects(loadTokenizer(undefined, { vocabSize: 512, ...ends }), {
    code: 'INVALID_TOKENIZER',
    message: /^cannot use the LLaMA vocabulary, .* 512 of the model/,
  })
})

t.test('a file that cannot be read or is malformed is refused by its path', async t => {
  const directory = t.testdir({ 'tokenizer.json': '{"model": ' })
  const file = join(directory, 'tokenizer.json')
  await t.rejects(loadTokenizer(directory, smallModel), {
    code: 'INVALID_TOKENIZER',
    message: `${file}: malformed JSON`,
  })
  writeFileSync(file, ' '.repeat(64 * 1024 * 1024 + 1))
  await t.rejects(loadTokenizer(file, smallModel), { code: 'INVALID_TOKENIZER', message: file })
  const missing = join(directory, 'missing')
  await t.rejects(loadTokenizer(missing, smallModel), { code: 'IO_ERROR', message: missing })
})
