import { OpenELMError } from '../errors.js'
import { finish, type Steps } from '../steps.js'
import type { Tokenizer } from '../tokenizer.js'
import { shuffled } from './random.js'

export interface BatchOptions {
  /** Tokens of a sequence. */
  sequenceLength: number
  /** Which order the pieces come in, a new one each epoch. */
  seed: number
  /** Pieces with fewer tokens, BOS and EOS included, are left out. */
  minTokens: number
  /**
   * Whether sequences are cut from all pieces end to end. Otherwise each piece is a sequence: what it has
   * beyond `sequenceLength` is lost, and what it lacks is padded.
   */
  packing: boolean
}

/** Sequences side by side; `targets` are the tokens that come next, or -1 where there is none. */
export interface Batch {
  tokens: Int32Array
  targets: Int32Array
  numTargets: number
  /** Tokens of its pieces that the sequences had no room for. */
  leftOut: number
}

/** Where a {@link BatchStream} stands: enough to continue it. */
export interface BatchCursor {
  epoch: number
  /** How many pieces of the epoch's order are used up. */
  pieces: number
  /** Tokens that no sequence has used yet, when packing. */
  rest: number[]
}

/** A list of texts, such as an array. */
export interface Pieces {
  readonly length: number
  at(index: number): string | undefined
}

/** An endless stream of batches, tokenised as they are asked for. */
export class BatchStream {
  readonly #pieces: Pieces
  readonly #tokenizer: Tokenizer
  readonly #options: BatchOptions
  #place = { epoch: 0, pieces: 0 }
  /** What packing has tokenised, and how much of it sequences have used. */
  #tokens: number[] = []
  #used = 0
  #leftOut = 0
  #order: Uint32Array

  constructor(pieces: Pieces, tokenizer: Tokenizer, options: BatchOptions) {
    this.#pieces = pieces
    this.#tokenizer = tokenizer
    this.#options = options
    this.#order = this.#orderOf(0)
  }

  /** @throws OpenELMError INVALID_DATA when no piece is long enough. */
  *check(): Steps<void> {
    for (let index = 0; index < this.#pieces.length; index++) {
      if (yield* this.#encode(index)) return
      yield ''
    }
    const what = `no piece of the data has as many tokens as minTokens, ${this.#options.minTokens}`
    throw new OpenELMError('INVALID_DATA', what)
  }

  get cursor(): BatchCursor {
    return { ...this.#place, rest: this.#tokens.slice(this.#used) }
  }

  set cursor({ epoch, pieces, rest }: BatchCursor) {
    this.#place = { epoch, pieces }
    this.#tokens = rest
    this.#used = 0
    this.#order = this.#orderOf(epoch)
  }

  next(sequences: number): Batch {
    return finish(this.steps(sequences))
  }

  /** {@link next}, as work that can pause. */
  *steps(sequences: number): Steps<Batch> {
    const { sequenceLength } = this.#options
    const tokens = new Int32Array(sequences * sequenceLength).fill(this.#tokenizer.eosTokenId)
    const targets = new Int32Array(tokens.length).fill(-1)
    let numTargets = 0
    this.#leftOut = 0
    for (let i = 0; i < sequences; i++) {
      const sequence = yield* this.#nextSequence()
      tokens.set(sequence.slice(0, -1), i * sequenceLength)
      targets.set(sequence.slice(1), i * sequenceLength)
      numTargets += sequence.length - 1
      yield ''
    }
    return { tokens, targets, numTargets, leftOut: this.#leftOut }
  }

  /** Inputs and targets of one sequence overlap: at most `sequenceLength` + 1 tokens. */
  *#nextSequence(): Steps<number[]> {
    const { sequenceLength, packing } = this.#options
    if (!packing) {
      const piece = yield* this.#nextPiece()
      this.#leftOut += Math.max(0, piece.length - sequenceLength - 1)
      return piece.slice(0, sequenceLength + 1)
    }
    while (this.#tokens.length - this.#used <= sequenceLength) {
      const piece = yield* this.#nextPiece()
      this.#tokens = this.#tokens.slice(this.#used).concat(piece)
      this.#used = 0
    }
    const begin = this.#used
    this.#used += sequenceLength
    return this.#tokens.slice(begin, begin + sequenceLength + 1)
  }

  *#nextPiece(): Steps<number[]> {
    for (;;) {
      if (this.#place.pieces === this.#order.length) {
        const epoch = this.#place.epoch + 1
        this.#place = { epoch, pieces: 0 }
        this.#order = this.#orderOf(epoch)
      }
      const tokens = yield* this.#encode(this.#order[this.#place.pieces++]!)
      if (tokens) return tokens
    }
  }

  *#encode(index: number): Steps<number[] | undefined> {
    const tokens = yield* this.#tokenizer.encodeInSteps(this.#pieces.at(index)!)
    tokens.push(this.#tokenizer.eosTokenId)
    return tokens.length < this.#options.minTokens ? undefined : tokens
  }

  #orderOf(epoch: number): Uint32Array {
    return shuffled(this.#pieces.length, this.#options.seed, epoch)
  }
}
