import { invalidArgument, OpenELMError } from './errors.js'
import { llamaVocabulary } from './llama-vocabulary.js'
import {
  abortSignal,
  boolean,
  integer,
  isArrayOfIntegers,
  optional,
  type Rule,
  type RulesOf,
  readOptions,
  string,
  type ValuesOf,
} from './options.js'
import { finish, finishInSlices, type Steps } from './steps.js'
import { ByteTokenStream, type TokenStream } from './token-stream.js'
import { findTokenizerJson, readTokenizerJson } from './tokenizer-file.js'
import { tokenizerJson } from './tokenizer-json.js'
import type { TokenizerModel } from './tokenizer-model.js'
import { createVocabulary, type Vocabulary, type VocabularyParts } from './vocabulary.js'

/** Token ids, in order. */
export type TokenIds = readonly number[] | Int32Array | Uint32Array | Uint16Array

/** Options of `Tokenizer.encode`. */
export interface EncodeOptions {
  /** Whether `bosTokenId` comes first, as the models were trained to expect. Default true. */
  addBos?: boolean | undefined
  /**
   * Whether text such as `</s>` becomes the special token that it names. Only for text that no user has
   * a part in: whoever writes a special token can end a turn and begin another. Default false.
   */
  special?: boolean | undefined
}

/** Options of `Tokenizer.encodeAsync`. */
export interface EncodeAsyncOptions extends EncodeOptions {
  /** Ends the work between two slices; the promise then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** Options of `Tokenizer.decode`. */
export interface DecodeOptions {
  /**
   * Whether the tokens continue a text, as generated tokens do. By default they are a whole text, and
   * the space that `encode` puts in front of it is taken away again. Default false.
   */
  continuation?: boolean | undefined
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids run from 0 to `vocabSize` - 1; the model has a score for each, the tokenizer perhaps not a text. */
  readonly vocabSize: number
  readonly bosTokenId: number
  /** The token that ends a text in training and in chat templates. */
  readonly eosTokenId: number
  /** The tokens that end a generation: those of generation_config.json, else those of config.json. */
  readonly eosTokenIds: readonly number[]
  /**
   * The most UTF-16 units of text that one token can stand for, so that a text of more than
   * `maxTokens * longestToken` has more than `maxTokens` tokens. Infinity where there is no such limit,
   * for example where white space is dropped.
   */
  readonly longestToken: number
  /** The special tokens, by the text that stands for each where `options.special` asks for them. */
  readonly specialTokens: ReadonlyMap<string, number>
  /**
   * The ids of `text`, in time linear in its length or nearly so. Added tokens of the vocabulary are
   * found in the text as Hugging Face's tokenizers find them; special ones only with
   * `options.special`, so that a literal `</s>` is four characters. A lone surrogate is read as U+FFFD,
   * and in a SentencePiece vocabulary, such as LLaMA's, U+2581 as a space.
   * @param text or texts and token ids: the ids stay, and each text between them is encoded on its own.
   * @throws OpenELMError INVALID_ARGUMENT if `text` is neither.
   */
  encode(text: string | readonly (string | number)[], options?: EncodeOptions): number[]
  /**
   * The same ids, in slices of a few milliseconds between which the event loop turns: for texts that
   * may be long.
   * @throws OpenELMError INVALID_ARGUMENT as `encode`; or the reason of `options.signal`.
   */
  encodeAsync(
    text: string | readonly (string | number)[],
    options?: EncodeAsyncOptions,
  ): Promise<number[]>
  /** @internal The UTF-8 that a token stands for. */
  bytesOf(token: number): Uint8Array
  /** @internal Whether `encode` puts a space in front of a text, which `decode` takes away. */
  readonly prependsSpace: boolean
  /** @internal The same ids, as work that can pause. */
  encodeInSteps(
    text: string | readonly (string | number)[],
    options?: { addBos?: boolean },
  ): Steps<number[]>
  /**
   * The id of the token that the vocabulary writes like this, control tokens among them; undefined if
   * there is none.
   */
  tokenToId(token: string): number | undefined
  /** How the vocabulary writes a token; undefined for ids that it leaves out. */
  idToToken(id: number): string | undefined
  /**
   * The text of `tokens`. Control tokens have none, nor have ids that the vocabulary leaves out. Bytes
   * that are not UTF-8 become U+FFFD.
   * @throws OpenELMError INVALID_ARGUMENT if a token is not an integer from 0 to `vocabSize` - 1.
   */
  decode(tokens: TokenIds, options?: DecodeOptions): string
  /** `decode` for tokens that come one at a time. */
  stream(options?: DecodeOptions): TokenStream
}

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
    const name = 'the LLaMA vocabulary, as there is no tokenizer.json'
    return createTokenizer(name, await llamaVocabulary(), model)
  }
  return createTokenizer(file, await tokenizerJson(await readTokenizerJson(file)), model)
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

const encodeRules = {
  addBos: optional(boolean, true),
  special: optional(boolean, false),
} satisfies RulesOf<EncodeOptions>

const encodeAsyncRules = {
  ...encodeRules,
  signal: optional(abortSignal),
} satisfies RulesOf<EncodeAsyncOptions>

const decodeRules = { continuation: optional(boolean, false) } satisfies RulesOf<DecodeOptions>

class BytePairTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly bosTokenId: number
  readonly eosTokenId: number
  readonly eosTokenIds: readonly number[]
  readonly longestToken: number
  readonly specialTokens: ReadonlyMap<string, number>
  readonly #vocabulary: Vocabulary
  readonly #id: Rule<number>
  #ids: ReadonlyMap<string, number> | undefined

  constructor(model: TokenizerModel, vocabulary: Vocabulary) {
    this.vocabSize = model.vocabSize
    this.bosTokenId = model.bosTokenId
    this.eosTokenId = model.eosTokenId
    this.eosTokenIds = [...(model.eosTokenIds ?? [model.eosTokenId])]
    this.longestToken = vocabulary.longestToken
    this.specialTokens = vocabulary.specialTokens
    this.#vocabulary = vocabulary
    this.#id = integer(0, model.vocabSize - 1)
  }

  encode(text: string | readonly (string | number)[], options?: EncodeOptions): number[] {
    return finish(this.#encode(text, readOptions(options, encodeRules)))
  }

  async encodeAsync(
    text: string | readonly (string | number)[],
    options?: EncodeAsyncOptions,
  ): Promise<number[]> {
    const { signal, ...settings } = readOptions(options, encodeAsyncRules)
    signal?.throwIfAborted()
    return finishInSlices(this.#encode(text, settings), signal)
  }

  get prependsSpace(): boolean {
    return this.#vocabulary.prependsSpace
  }

  bytesOf(token: number): Uint8Array {
    return this.#vocabulary.bytesOf(token)
  }

  encodeInSteps(
    text: string | readonly (string | number)[],
    { addBos = true } = {},
  ): Steps<number[]> {
    return this.#encode(text, { addBos, special: false })
  }

  #encode(text: unknown, { addBos, special }: ValuesOf<typeof encodeRules>): Steps<number[]> {
    const first = addBos ? [this.bosTokenId] : []
    return this.#vocabulary.encode(this.#readParts(text), special, first)
  }

  #readParts(text: unknown): (string | number)[] {
    if (typeof text === 'string') return [text.toWellFormed()]
    if (!Array.isArray(text)) {
      throw invalidArgument('text', 'a string, or an array of texts and token ids', text)
    }
    return Array.from(text, (part: unknown, i) =>
      typeof part === 'string' ? part.toWellFormed() : this.#id(`text[${i}]`, part),
    )
  }

  tokenToId(token: string): number | undefined {
    const { names } = this.#vocabulary
    this.#ids ??= new Map(
      names.flatMap((name, id): [string, number][] => (name === undefined ? [] : [[name, id]])),
    )
    return this.#ids.get(string('token', token))
  }

  idToToken(id: number): string | undefined {
    return this.#vocabulary.names[this.#id('id', id)]
  }

  decode(tokens: TokenIds, options?: DecodeOptions): string {
    if (!isArrayOfIntegers(tokens)) {
      throw invalidArgument('tokens', 'an array or an Int32Array', tokens)
    }
    const stream = this.stream(options)
    let text = ''
    for (const token of tokens) text += stream.push(token)
    return text + stream.end()
  }

  stream(options?: DecodeOptions): TokenStream {
    const { continuation } = readOptions(options, decodeRules)
    return new ByteTokenStream(this.#vocabulary, continuation)
  }
}
