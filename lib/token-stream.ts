import { invalidArgument } from './errors.js'
import type { Vocabulary } from './vocabulary.js'

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

/** {@link TokenStream} for a vocabulary whose tokens are bytes of UTF-8. */
export class ByteTokenStream implements TokenStream {
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
