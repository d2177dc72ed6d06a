import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { byteLevelBytes } from './byte-level.js'
import { BytePairEncoder, type Merge } from './byte-pair-encoder.js'
import type { OpenELMConfig } from './config.js'
import { invalidArgument, OpenELMError } from './errors.js'
import { describeJson, isJsonObject, type JsonObject } from './strict-json.js'
import { metaspace, readTokenizerJson } from './tokenizer-json.js'
import { readBoolean, readObject } from './validate.js'

/** Token ids, in order. */
export type TokenIds = readonly number[] | Int32Array

export interface EncodeOptions {
  /** Whether `bosTokenId` comes first, as the models were trained to expect. Default true. */
  addBos?: boolean
}

export interface DecodeOptions {
  /**
   * Whether the tokens continue a text, as generated tokens do. By default they are a whole text, and
   * the space that `encode` puts in front of it is taken away again. Default false.
   */
  continuation?: boolean
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids run from 0 to `vocabSize` - 1; the model has a score for each, the tokenizer perhaps not a text. */
  readonly vocabSize: number
  readonly bosTokenId: number
  readonly eosTokenId: number
  /**
   * The ids of `text`, in time linear in its length or nearly so. Text is never read as a control token:
   * a literal `</s>` is four characters. A lone surrogate is read as U+FFFD, and in a SentencePiece
   * vocabulary, such as LLaMA's, U+2581 as a space.
   * @throws OpenELMError INVALID_ARGUMENT if `text` is not a string.
   */
  encode(text: string, options?: EncodeOptions): number[]
  /**
   * The text of `tokens`. Control tokens have none, nor have ids that the vocabulary leaves out. Bytes
   * that are not UTF-8 become U+FFFD.
   * @throws OpenELMError INVALID_ARGUMENT if a token is not an integer from 0 to `vocabSize` - 1.
   */
  decode(tokens: TokenIds, options?: DecodeOptions): string
  /** `decode` for tokens that come one at a time. */
  stream(options?: DecodeOptions): TokenStream
}

/** The text of tokens as they come; all that `push` and `end` return, joined, is what `decode` returns. */
export interface TokenStream {
  /**
   * The text that `token` completes: whole characters only, '' while more bytes must come.
   * @throws OpenELMError INVALID_ARGUMENT if `token` is not an integer from 0 to `vocabSize` - 1.
   */
  push(token: number): string
  /** What is left: U+FFFD if the tokens ended inside a character, else ''. */
  end(): string
}

/** What a tokenizer has to know of its model. */
export type TokenizerModel = Pick<OpenELMConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenId'>

/**
 * Loads the tokenizer of a model.
 *
 * @param source The path of a Hugging Face tokenizer.json with a BPE model (at most 64 MB), the object
 *   that such a file holds, or a directory. Undefined, or a directory without that file, means the
 *   32,000 pieces of LLaMA, which all released OpenELM models use.
 * @throws OpenELMError INVALID_TOKENIZER if it cannot be used or does not fit `model`, IO_ERROR if it
 *   cannot be read.
 */
export async function loadTokenizer(
  source: string | object | undefined,
  model: TokenizerModel,
): Promise<Tokenizer> {
  if (typeof source === 'object') return createTokenizer('the tokenizer given', source, model)
  const { name, json } = await readTokenizerJson(source)
  return createTokenizer(name, json, model)
}

class BytePairTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly bosTokenId: number
  readonly eosTokenId: number
  readonly #vocabulary: Vocabulary

  constructor({ vocabSize, bosTokenId, eosTokenId }: TokenizerModel, vocabulary: Vocabulary) {
    this.vocabSize = vocabSize
    this.bosTokenId = bosTokenId
    this.eosTokenId = eosTokenId
    this.#vocabulary = vocabulary
  }

  encode(text: string, options?: EncodeOptions): number[] {
    if (typeof text !== 'string') throw invalidArgument('text', 'a string', text)
    const addBos = readBoolean('options.addBos', readObject('options', options).addBos, true)
    const tokens = this.#vocabulary.encode(text.replace(/\p{Surrogate}/gu, '\ufffd'))
    if (addBos) tokens.unshift(this.bosTokenId)
    return tokens
  }

  decode(tokens: TokenIds, options?: DecodeOptions): string {
    if (!Array.isArray(tokens) && !(tokens instanceof Int32Array)) {
      throw invalidArgument('tokens', 'an array or an Int32Array', tokens)
    }
    const stream = this.stream(options)
    let text = ''
    for (const token of tokens) text += stream.push(token)
    return text + stream.end()
  }

  stream(options?: DecodeOptions): TokenStream {
    const { continuation } = readObject('options', options)
    const isContinuation = readBoolean('options.continuation', continuation, false)
    return new ByteStream(this.#vocabulary, isContinuation)
  }
}

class ByteStream implements TokenStream {
  readonly #bytes: Vocabulary['bytes']
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
  #dropsSpace: boolean

  constructor({ bytes, prependsSpace }: Vocabulary, continuation: boolean) {
    this.#bytes = bytes
    this.#dropsSpace = prependsSpace && !continuation
  }

  push(token: number): string {
    const bytes = Number.isInteger(token) ? this.#bytes[token] : undefined
    if (bytes === undefined) {
      throw invalidArgument('token', `an integer from 0 to ${this.#bytes.length - 1}`, token)
    }
    return this.#emit(this.#utf8.decode(bytes, { stream: true }))
  }

  end(): string {
    return this.#emit(this.#utf8.decode())
  }

  #emit(text: string): string {
    if (!this.#dropsSpace || text === '') return text
    this.#dropsSpace = false
    return text.startsWith(' ') ? text.slice(1) : text
  }
}

/** What a tokenizer.json comes down to. */
interface Vocabulary {
  /** The tokens of a well-formed text, without BOS. */
  encode(text: string): number[]
  /** The UTF-8 that each token of the model stands for. */
  bytes: readonly Uint8Array[]
  /** Whether `encode` puts a space in front of the text. */
  prependsSpace: boolean
}

function createTokenizer(name: string, json: unknown, model: TokenizerModel): Tokenizer {
  try {
    return new BytePairTokenizer(model, parseTokenizerJson(json, model))
  } catch (cause) {
    const message = `cannot use ${name}: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_TOKENIZER', message, { cause })
  }
}

const utf8 = new TextEncoder()
const noBytes = new Uint8Array(0)

function parseTokenizerJson(json: unknown, model: TokenizerModel): Vocabulary {
  check(isJsonObject(json), 'it', 'an object', json)
  const { model: bpe } = json
  check(isJsonObject(bpe), 'model', 'an object', bpe)
  check(bpe.type === 'BPE', 'model.type', '"BPE"', bpe.type)
  for (const option of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    check(!bpe[option], `model.${option}`, 'unset', bpe[option])
  }
  const pieces = parsePieces(bpe.vocab, model)
  const control = parseAddedTokens(json.added_tokens ?? [], pieces, model)
  const unknown = pieces.get(bpe.unk_token as string)
  if (unknown !== undefined) control.add(unknown)

  const read = parseDecoder(json.decoder)
  const bytes = new Array<Uint8Array>(model.vocabSize).fill(noBytes)
  const byteTokens: number[] = []
  const ids = new Map<string, number>()
  for (const [piece, id] of pieces) {
    if (control.has(id)) continue
    const byte = bpe.byte_fallback ? byteOf(piece) : undefined
    bytes[id] = byte === undefined ? read(piece) : Uint8Array.of(byte)
    if (byte === undefined) ids.set(piece, id)
    else byteTokens[byte] = id
  }
  const numByteTokens = Object.keys(byteTokens).length
  check(!bpe.byte_fallback || numByteTokens === 256, 'byte tokens', '256', numByteTokens)

  const split = parseSplitter(json)
  const encoder = new BytePairEncoder({
    vocabSize: model.vocabSize,
    ids,
    merges: parseMerges(bpe.merges, pieces, ids),
    spell: character => {
      if (bpe.byte_fallback) return Array.from(utf8.encode(character), byte => byteTokens[byte]!)
      return unknown === undefined ? [] : [unknown]
    },
  })
  const encode = (text: string) => {
    const tokens: number[] = []
    for (const word of split(text)) {
      const whole = bpe.ignore_merges ? ids.get(word) : undefined
      for (const token of whole === undefined ? encoder.encode(word) : [whole]) {
        const repeatsUnknown = token === unknown && token === tokens.at(-1)
        if (!(bpe.fuse_unk && repeatsUnknown)) tokens.push(token)
      }
    }
    return tokens
  }
  return { encode, bytes, prependsSpace: read(split('a').join(''))[0] === 0x20 }
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
): Merge[] {
  check(Array.isArray(merges), 'model.merges', 'an array', merges)
  const known: Merge[] = []
  for (const merge of merges as unknown[]) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    check(isPair(pair), 'a merge', 'two pieces', merge)
    const parts = [...pair, pair.join('')]
    const [left, right, merged] = parts.map(piece => ids.get(piece))
    if (left !== undefined && right !== undefined && merged !== undefined) {
      known.push([left, right, merged])
      continue
    }
    // What is left out would make a control token out of text.
    const missing = parts.find(piece => !pieces.has(piece))
    check(missing === undefined, 'the pieces of a merge', 'in model.vocab', missing)
  }
  return known
}

/** How text becomes the words that are encoded one by one. */
function parseSplitter(json: JsonObject): (text: string) => string[] {
  // Without the added tokens, which the library would look for in the text.
  const { normalizer, pre_tokenizer } = new HuggingFaceTokenizer(
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
  return piece => utf8.encode(piece.replaceAll(metaspace, ' '))
}

/** The byte that "<0x41>" stands for, for example; undefined if `piece` is no byte token. */
function byteOf(piece: string): number | undefined {
  return /^<0x[0-9A-F]{2}>$/.test(piece) ? Number(piece.slice(1, -1)) : undefined
}

function readByteLevel(piece: string): Uint8Array {
  const bytes = Array.from(piece, character => byteLevelBytes.get(character))
  // An added token is written as it is.
  return bytes.includes(undefined) ? utf8.encode(piece) : Uint8Array.from(bytes as number[])
}

function check(ok: boolean, what: string, expected: string, received: unknown): asserts ok {
  if (!ok) throw new Error(`expected ${what} to be ${expected}, received ${describeJson(received)}`)
}

function checkId(id: unknown, { vocabSize }: TokenizerModel): asserts id is number {
  const ok = Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  check(ok, 'a token id', `one of the ${vocabSize} of the model`, id)
}

function isPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && value.every(x => typeof x === 'string')
}
