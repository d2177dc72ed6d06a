import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import t from 'tap'
import { type AddedToken, AddedTokenFinder } from '../lib/added-tokens.js'
import { byteLevelCharacters } from '../lib/byte-level.js'
import { loadTokenizer } from '../lib/tokenizer.js'

interface Golden {
  name: string
  tokenizer: { model: { vocab: Record<string, number> }; added_tokens: { id: number }[] }
  /** A text, and its ids without and with special tokens taken from it. */
  texts: [string, number[], number[]][]
}

/** Made by Hugging Face's tokenizers 0.23.2, in Rust: see make-added-tokens-golden.py beside it. */
const golden: Golden[] = JSON.parse(
  readFileSync(new URL('data/added-tokens-golden.json', import.meta.url), 'utf8'),
)

const ends = { bosTokenId: 1, eosTokenId: 2 }

for (const { name, tokenizer: json, texts } of golden) {
  t.test(`the ids of Hugging Face's tokenizers: ${name}`, async t => {
    const highest = Math.max(...json.added_tokens.map(({ id }) => id))
    const tokenizer = await loadTokenizer(json, { vocabSize: highest + 1, ...ends })
    t.ok(texts.length >= 20)
    for (const [text, plain, special] of texts) {
      t.same(tokenizer.encode(text, { addBos: false }), plain, JSON.stringify(text))
      t.same(tokenizer.encode(text, { addBos: false, special: true }), special)
      t.same(await tokenizer.encodeAsync(text, { addBos: false, special: true }), special)
    }
  })
}

const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false }
const added = [
  { ...flags, id: 0, content: '<unk>', special: true },
  { ...flags, id: 1, content: '<s>', special: true },
  { ...flags, id: 2, content: '</s>', special: true },
  { ...flags, id: 300, content: '<|user|>', special: false },
  { ...flags, id: 301, content: '<|user', special: false, normalized: true },
  { ...flags, id: 302, content: '<|end|>', special: true },
  { ...flags, id: 303, content: '<mask>', special: true, lstrip: true },
  { ...flags, id: 304, content: '<both>', special: false, lstrip: true, rstrip: true },
  { ...flags, id: 305, content: '<right>', special: false, rstrip: true, normalized: true },
  { ...flags, id: 306, content: '\u00e9t', special: false, normalized: true },
  { ...flags, id: 307, content: 'a  b', special: false, normalized: true },
  { ...flags, id: 308, content: '+*?', special: false },
]
const units = [
  ...added.map(({ content }) => content),
  ...' ,  ,\n,\t,\u00a0,a,cat,dogs,x,_,1,-,\u00e9,e\u0301,t,\u{1f999},\u4e16\u754c,<|,|>,<'.split(
    ',',
  ),
]

function byteLevelJson() {
  const pieces = ['<unk>', '<s>', '</s>', ...byteLevelCharacters, 'ca', 'cat', '\u0120a']
  return {
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ['c a', 'ca t', '\u0120 a'],
    },
  }
}

t.test('20,000 texts have the ids of @huggingface/tokenizers', async t => {
  const json = byteLevelJson()
  const ours = await loadTokenizer(json, { vocabSize: 320, ...ends })
  const theirs = new HuggingFaceTokenizer(json, {})
  const withoutSpecial = { ...json, added_tokens: added.filter(({ special }) => !special) }
  const theirsWithoutSpecial = new HuggingFaceTokenizer(withoutSpecial, {})
  const text = fc.array(fc.constantFrom(...units), { maxLength: 12 }).map(parts => parts.join(''))
  const property = fc.property(text, text => {
    const special = ours.encode(text, { addBos: false, special: true })
    assert.deepEqual(special, theirs.encode(text).ids)
    const plain = ours.encode(text, { addBos: false })
    assert.deepEqual(plain, theirsWithoutSpecial.encode(text).ids)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 20_000, seed: 1 }))
})

t.test('special tokens come of a text only where they are asked for', async t => {
  const tokenizer = await loadTokenizer(byteLevelJson(), { vocabSize: 320, ...ends })
  const text = 'a</s><|end|><|user|>b'
  const special = new Set(added.filter(token => token.special).map(({ id }) => id))
  t.notOk(tokenizer.encode(text, { addBos: false }).some(token => special.has(token)))
  t.ok(tokenizer.encode(text).includes(300), 'others always')
  t.same(
    tokenizer.encode(text, { special: true }),
    [1, 'a', 2, 302, 300, 'b'].map(id => (typeof id === 'string' ? tokenizer.tokenToId(id) : id)),
  )
  t.equal(tokenizer.decode(tokenizer.encode(text)), text)
  t.throws(() => tokenizer.encode('', { special: 1 as never }), { code: 'INVALID_ARGUMENT' })
})

t.test("LLaMA's control tokens, too", async t => {
  const llama = await loadTokenizer(undefined, { vocabSize: 32000, ...ends })
  t.same(
    llama.encode('<s>Hello</s><unk> world', { addBos: false, special: true }),
    [1, 15043, 2, 0, 29871, 3186],
  )
  t.same([0, 1, 2].map(llama.idToToken, llama), ['<unk>', '<s>', '</s>'])
})

t.test('tokens have names', async t => {
  const tokenizer = await loadTokenizer(byteLevelJson(), { vocabSize: 320, ...ends })
  for (const { id, content } of added) {
    t.equal(tokenizer.tokenToId(content), id)
    t.equal(tokenizer.idToToken(id), content)
  }
  t.equal(tokenizer.tokenToId('cat'), 260)
  t.equal(tokenizer.tokenToId('dog'), undefined)
  t.equal(tokenizer.tokenToId('constructor'), undefined)
  t.equal(tokenizer.idToToken(319), undefined)
  const invalid = { code: 'INVALID_ARGUMENT' }
  t.throws(() => tokenizer.tokenToId(5 as never), invalid)
  for (const id of [-1, 320, 0.5]) t.throws(() => tokenizer.idToToken(id), invalid)
})

t.test('an added token is written as it is', async t => {
  const tokenizer = await loadTokenizer(byteLevelJson(), { vocabSize: 320, ...ends })
  t.equal(tokenizer.decode([306, 300]), '\u00e9t<|user|>')
})

t.test('one that the model cannot have is left out', async t => {
  const json = byteLevelJson()
  json.added_tokens = [...added, { ...flags, id: 320, content: '[PAD]', special: true }]
  Object.assign(json.model.vocab, { '[PAD]': 320 })
  const tokenizer = await loadTokenizer(json, { vocabSize: 320, ...ends })
  t.equal(tokenizer.tokenToId('[PAD]'), undefined)
  const tokens = tokenizer.encode('[PAD]', { addBos: false, special: true })
  t.equal(tokens.length, 5)
})

t.test('text is searched in windows, which changes nothing', async t => {
  const token = (content: string, changes: Partial<AddedToken> = {}): [string, AddedToken] => {
    const flags = { special: false, lstrip: false, rstrip: false, singleWord: false }
    return [content, { id: 0, content, normalized: false, ...flags, ...changes }]
  }
  const tokens = new Map([
    token('ab'),
    token('abcab'),
    token('b', { lstrip: true }),
    token('\u{1f999}'),
    token('xx', { singleWord: true }),
    token('c ', { rstrip: true }),
    token('\udd99'),
    token(''),
  ])
  const sections = (text: string, windowLength?: number) => {
    const found = [...new AddedTokenFinder(tokens, windowLength).split(text)]
    return found.filter(section => section !== '')
  }
  t.same(
    sections('aabcab \u{1f999}xxx xx').map(x => (typeof x === 'string' ? x : [x.content])),
    ['a', ['abcab'], ' ', ['\u{1f999}'], 'xxx ', ['xx']],
  )
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'x', ' ', '\u{1f999}') })
  const property = fc.property(text, fc.integer({ min: 1, max: 9 }), (text, windowLength) => {
    assert.deepEqual(sections(text, windowLength), sections(text))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 2000 }))
})
