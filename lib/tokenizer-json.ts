import type { AddedToken } from './added-tokens.js'
import { byteLevelBytes } from './byte-level.js'
import type { Merges } from './byte-pair-encoder.js'
import type { HuggingFaceTokenizers } from './hugging-face.js'
import { parseNormalizer } from './normalizer.js'
import { type PreTokenizer, parsePreTokenizer } from './pre-tokenizer.js'
import { byteOf, readSentencePiece } from './sentence-piece.js'
import { isJsonObject } from './strict-json.js'
import { check, checkId, type TokenizerModel } from './tokenizer-model.js'
import type { VocabularyParts } from './vocabulary.js'

const utf8 = new TextEncoder()

/** What a tokenizer.json holds. */
export async function tokenizerJson(
  json: unknown,
): Promise<(model: TokenizerModel) => VocabularyParts> {
  // The import takes a while, so only those wait for it who have a tokenizer.json.
  const library = await import('@huggingface/tokenizers')
  return model => parse(json, model, library)
}

function parse(
  json: unknown,
  model: TokenizerModel,
  library: HuggingFaceTokenizers,
): VocabularyParts {
  check(isJsonObject(json), 'it', 'an object', json)
  const { model: bpe } = json
  check(isJsonObject(bpe), 'model', 'an object', bpe)
  // Files of older GPT-2 models name no type.
  check((bpe.type ?? 'BPE') === 'BPE', 'model.type', '"BPE"', bpe.type)
  for (const option of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    check(!bpe[option], `model.${option}`, 'unset', bpe[option])
  }
  const allAdded = parseAddedTokens(json.added_tokens ?? [])
  // Tokenizers may end in `[PAD]` behind the last token of their model, which can never give it.
  const addedTokens = allAdded.filter(({ id }) => id < model.vocabSize)
  const leftOut = allAdded.filter(({ id }) => id >= model.vocabSize)
  const known = parsePieces(bpe.vocab, new Set(leftOut.map(({ content }) => content)), model)
  const names = new Array<string | undefined>(model.vocabSize).fill(undefined)
  for (const [piece, id] of known) names[id] = piece
  for (const { id, content } of addedTokens) names[id] = content
  const unknown =
    known.get(bpe.unk_token as string) ??
    addedTokens.find(({ content }) => content === bpe.unk_token)?.id
  const control = findControlTokens(addedTokens, known, unknown, model)

  const byteFallback = Boolean(bpe.byte_fallback)
  const pieces = new Array<string | undefined>(model.vocabSize).fill(undefined)
  const ids = new Map<string, number>()
  for (const [piece, id] of known) {
    if (control.has(id)) continue
    pieces[id] = piece
    if (!byteFallback || byteOf(piece) === undefined) ids.set(piece, id)
  }
  const preTokenizer = parsePreTokenizer(json.pre_tokenizer, library)
  return {
    pieces,
    merges: parseMerges(bpe.merges, known, ids),
    addedTokens: addedTokens.map(token => ({ ...token, special: control.has(token.id) })),
    names,
    byteFallback,
    unknown,
    fuseUnknown: Boolean(bpe.fuse_unk),
    whole: bpe.ignore_merges ? ids : undefined,
    normalizer: parseNormalizer(json.normalizer, library),
    preTokenizer,
    read: parseDecoder(json.decoder, preTokenizer),
  }
}

function parseAddedTokens(tokens: unknown): AddedToken[] {
  check(Array.isArray(tokens), 'added_tokens', 'an array', tokens)
  const added = new Map<string, AddedToken>()
  for (const token of tokens as unknown[]) {
    check(isJsonObject(token), 'an added token', 'an object', token)
    const { id, content, lstrip, rstrip } = token
    check(typeof content === 'string', 'the content of an added token', 'a string', content)
    const isId = Number.isInteger(id) && (id as number) >= 0
    check(isId, 'the id of an added token', 'an integer from 0 up', id)
    if (content === '') continue
    const special = Boolean(token.special)
    added.set(content, {
      id: id as number,
      content,
      special,
      lstrip: Boolean(lstrip),
      rstrip: Boolean(rstrip),
      singleWord: Boolean(token.single_word),
      normalized: Boolean(token.normalized ?? !special),
    })
  }
  return [...added.values()]
}

function parsePieces(
  vocab: unknown,
  leftOut: ReadonlySet<string>,
  model: TokenizerModel,
): Map<string, number> {
  check(isJsonObject(vocab), 'model.vocab', 'an object', vocab)
  const pieces = new Map<string, number>()
  for (const [piece, id] of Object.entries(vocab)) {
    if (leftOut.has(piece)) continue
    checkId(id, model)
    pieces.set(piece, id)
  }
  return pieces
}

/**
 * What text never becomes unless the caller asks for it: special tokens, BOS and EOS of the model, and
 * the unknown token.
 */
function findControlTokens(
  addedTokens: readonly AddedToken[],
  pieces: ReadonlyMap<string, number>,
  unknown: number | undefined,
  { bosTokenId, eosTokenId, eosTokenIds = [] }: TokenizerModel,
): Set<number> {
  const added = new Set(addedTokens.map(({ id }) => id))
  for (const [piece, id] of pieces) {
    // Else the tokenizer is of another model, and could no longer write that piece.
    const isEnd = id === bosTokenId || id === eosTokenId
    check(!isEnd || added.has(id), 'BOS and EOS', 'added tokens', piece)
  }
  const control = new Set([bosTokenId, eosTokenId])
  for (const id of eosTokenIds) if (added.has(id)) control.add(id)
  for (const { id, special } of addedTokens) if (special) control.add(id)
  if (unknown !== undefined) control.add(unknown)
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

/** How a piece that is no byte token becomes UTF-8. Without a decoder, as the pre-tokenizer writes it. */
function parseDecoder(
  decoder: unknown,
  { isByteLevel }: PreTokenizer,
): (piece: string) => Uint8Array {
  if (decoder === null || decoder === undefined) {
    return isByteLevel ? readByteLevel : readSentencePiece
  }
  check(isJsonObject(decoder), 'decoder', 'an object', decoder)
  const steps = decoder.type === 'Sequence' ? decoder.decoders : [decoder]
  check(Array.isArray(steps), 'decoder.decoders', 'an array', steps)
  const types = (steps as unknown[]).map(step => (isJsonObject(step) ? step.type : step))
  if (types.includes('ByteLevel')) return readByteLevel
  for (const type of types) {
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
