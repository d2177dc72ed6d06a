import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenELMConfig } from './config.js'
import { invalidArgument, OpenELMError } from './errors.js'
import { ioError, readJsonObject } from './files.js'
import { llamaVocabulary } from './llama-vocabulary.js'
import { tokenizerJson } from './tokenizer-json.js'
import { readBoolean, readObject } from './validate.js'
import { createVocabulary, type Vocabulary, type VocabularyParts } from './vocabulary.js'

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

export const maxFileBytes = 64 * 1024 * 1024

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
  if (typeof source === 'object') {
    return createTokenizer('the tokenizer given', await tokenizerJson(source), model)
  }
  const file = source === undefined ? undefined : await findTokenizerJson(source)
  if (file === undefined) {
    const name = 'the LLaMA vocabulary, in want of a tokenizer.json'
    return createTokenizer(name, await llamaVocabulary(), model)
  }
  const json = await readJsonObject(file, maxFileBytes, 'INVALID_TOKENIZER')
  return createTokenizer(file, await tokenizerJson(json), model)
}

function createTokenizer(
  name: string,
  parse: (model: TokenizerModel) => VocabularyParts,
  model: TokenizerModel,
): Tokenizer {
  try {
    return new BytePairTokenizer(model, createVocabulary(model, parse(model)))
  } catch (cause) {
    const message = `cannot use ${name}: ${(cause as Error).message}`
    throw new OpenELMError('INVALID_TOKENIZER', message, { cause })
  }
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
  readonly #vocabSize: number
  readonly #bytesOf: Vocabulary['bytesOf']
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
  #dropsSpace: boolean

  constructor({ vocabSize, bytesOf, prependsSpace }: Vocabulary, continuation: boolean) {
    this.#vocabSize = vocabSize
    this.#bytesOf = bytesOf
    this.#dropsSpace = prependsSpace && !continuation
  }

  push(token: number): string {
    if (!Number.isInteger(token) || token < 0 || token >= this.#vocabSize) {
      throw invalidArgument('token', `an integer from 0 to ${this.#vocabSize - 1}`, token)
    }
    return this.#emit(this.#utf8.decode(this.#bytesOf(token), { stream: true }))
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

/** The tokenizer.json of a directory, if it has one, or the file itself. */
export async function findTokenizerJson(source: string): Promise<string | undefined> {
  try {
    if (!(await stat(source)).isDirectory()) return source
    const name = 'tokenizer.json'
    return (await readdir(source)).includes(name) ? join(source, name) : undefined
  } catch (cause) {
    throw ioError('read', source, cause)
  }
}
