import type { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { byteLevelBytes } from './byte-level.js'
import type { Merges } from './byte-pair-encoder.js'
import { isJsonObject, type JsonObject } from './strict-json.js'
import type { TokenizerModel } from './tokenizer.js'
import { byteOf, check, checkId, readSentencePiece, type VocabularyParts } from './vocabulary.js'

const utf8 = new TextEncoder()

/** What a tokenizer.json holds. */
export async function tokenizerJson(
  json: unknown,
): Promise<(model: TokenizerModel) => VocabularyParts> {
  // Which only those who need it should wait for.
  const library = await import('@huggingface/tokenizers')
  return model => parse(json, model, library.Tokenizer)
}

function parse(
  json: unknown,
  model: TokenizerModel,
  Library: typeof HuggingFaceTokenizer,
): VocabularyParts {
  check(isJsonObject(json), 'it', 'an object', json)
  const { model: bpe } = json
  check(isJsonObject(bpe), 'model', 'an object', bpe)
  check(bpe.type === 'BPE', 'model.type', '"BPE"', bpe.type)
  for (const option of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    check(!bpe[option], `model.${option}`, 'unset', bpe[option])
  }
  const known = parsePieces(bpe.vocab, model)
  const control = parseAddedTokens(json.added_tokens ?? [], known, model)
  const unknown = known.get(bpe.unk_token as string)
  if (unknown !== undefined) control.add(unknown)

  const byteFallback = Boolean(bpe.byte_fallback)
  const pieces = new Array<string | undefined>(model.vocabSize).fill(undefined)
  const ids = new Map<string, number>()
  for (const [piece, id] of known) {
    if (control.has(id)) continue
    pieces[id] = piece
    if (!byteFallback || byteOf(piece) === undefined) ids.set(piece, id)
  }
  return {
    pieces,
    merges: parseMerges(bpe.merges, known, ids),
    byteFallback,
    unknown,
    fuseUnknown: Boolean(bpe.fuse_unk),
    whole: bpe.ignore_merges ? ids : undefined,
    split: parseSplitter(json, Library),
    read: parseDecoder(json.decoder),
  }
}

function parsePieces(vocab: unknown, model: TokenizerModel): Map<string, number> {
  check(isJsonObject(vocab), 'model.vocab', 'an object', vocab)
  const pieces = new Map<string, number>()
  for (const [piece, id] of Object.entries(vocab)) {
    checkId(id, model)
    pieces.set(piece, id)
  }
  return pieces
}

/** Adds the tokens to `pieces`. Returns the control tokens, BOS and EOS of the model among them. */
function parseAddedTokens(
  tokens: unknown,
  pieces: Map<string, number>,
  model: TokenizerModel,
): Set<number> {
  const ends = new Set([model.bosTokenId, model.eosTokenId])
  const control = new Set(ends)
  check(Array.isArray(tokens), 'added_tokens', 'an array', tokens)
  const added = new Set<string>()
  for (const token of tokens as unknown[]) {
    check(isJsonObject(token), 'an added token', 'an object', token)
    const { id, content, special } = token
    check(typeof content === 'string', 'the content of an added token', 'a string', content)
    checkId(id, model)
    pieces.set(content, id)
    added.add(content)
    if (special === true) control.add(id)
  }
  for (const [piece, id] of pieces) {
    // Else the tokenizer is of another model, and could no longer write that piece.
    if (ends.has(id)) check(added.has(piece), 'BOS and EOS', 'added tokens', piece)
  }
  return control
}

function parseMerges(
  merges: unknown,
  pieces: ReadonlyMap<string, number>,
  ids: ReadonlyMap<string, number>,
): Merges {
  check(Array.isArray(merges), 'model.merges', 'an array', merges)
  const known = { left: [] as number[], right: [] as number[], merged: [] as number[] }
  for (const merge of merges as unknown[]) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    check(isPair(pair), 'a merge', 'two pieces', merge)
    const parts = [...pair, pair.join('')]
    const [left, right, merged] = parts.map(piece => ids.get(piece))
    if (left !== undefined && right !== undefined && merged !== undefined) {
      known.left.push(left)
      known.right.push(right)
      known.merged.push(merged)
      continue
    }
    // What is left out would make a control token out of text.
    const missing = parts.find(piece => !pieces.has(piece))
    check(missing === undefined, 'the pieces of a merge', 'in model.vocab', missing)
  }
  return known
}

/** How text becomes the words that are encoded one by one. */
function parseSplitter(
  json: JsonObject,
  Library: typeof HuggingFaceTokenizer,
): (text: string) => string[] {
  // Without the added tokens, which the library would look for in the text.
  const { normalizer, pre_tokenizer } = new Library(
    {
      normalizer: json.normalizer ?? null,
      pre_tokenizer: json.pre_tokenizer ?? null,
      model: { type: 'BPE', vocab: {}, merges: [] },
      post_processor: null,
      decoder: null,
      added_tokens: [],
    },
    {},
  )
  return text => {
    if (text === '') return []
    const normalized = normalizer === null ? text : normalizer.normalize(text)
    if (pre_tokenizer === null) return [normalized]
    return pre_tokenizer.pre_tokenize(normalized, { section_index: 0 })
  }
}

/** How a piece that is no byte token becomes UTF-8. */
function parseDecoder(decoder: unknown): (piece: string) => Uint8Array {
  check(isJsonObject(decoder), 'decoder', 'an object', decoder)
  if (decoder.type === 'ByteLevel') return readByteLevel
  const steps = decoder.type === 'Sequence' ? decoder.decoders : [decoder]
  check(Array.isArray(steps), 'decoder.decoders', 'an array', steps)
  for (const step of steps as unknown[]) {
    const type = isJsonObject(step) ? step.type : step
    const known = ['Replace', 'ByteFallback', 'Fuse', 'Strip', 'Metaspace'].includes(type as string)
    check(known, 'decoder', "ByteLevel or SentencePiece's", type)
  }
  return readSentencePiece
}

function readByteLevel(piece: string): Uint8Array {
  const bytes = Array.from(piece, character => byteLevelBytes.get(character))
  // An added token is written as it is.
  return bytes.includes(undefined) ? utf8.encode(piece) : Uint8Array.from(bytes as number[])
}

function isPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every(x => typeof x === 'string')
}
