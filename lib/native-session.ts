import type { NativeConstrainedText } from './native-constraint.js'

export interface NativeSamplerOptions {
  temperature: number
  topK: number
  topP: number
  minP: number
  repetitionPenalty: number
  repetitionContextSize: number
  presencePenalty: number
  frequencyPenalty: number
  /** The tokens of a logit bias, and the bias of each. */
  biasedTokens: Int32Array
  biases: Float32Array
  /** Unsigned 64-bit. */
  seed: bigint
  /** How many alternatives to report with each token. */
  logprobs: number
}

/** A drawn token. Log-probabilities are natural logarithms under the model's own distribution. */
export interface NativeSample {
  token: number
  /** These three only when {@link NativeSamplerOptions.logprobs} is above 0. */
  logprob?: number
  topTokens?: Int32Array
  topLogprobs?: Float32Array
  /** That the text is to fit a constraint, and nothing but an end can follow. */
  isLast?: true
  /** That a drafter has guessed it. */
  isDrafted?: true
}

/** How likely the model finds each target, and the `top` tokens that it finds likeliest in its place. */
export interface NativeScores {
  /** [targets] */
  logprobs: Float32Array
  /** [targets, top], most likely first; -1, with -Infinity, where no other has a finite score. */
  topTokens: Int32Array
  topLogprobs: Float32Array
}

/** Which tokens may come: those i whose bit i % 32 of word i / 32 is set, or those that a text goes on with. */
export type NativeMask = Uint32Array | NativeConstrainedText

/**
 * One stream of random draws, with what the penalties see of the text. Its methods throw BUSY while a
 * session draws with it.
 */
export interface NativeSampler {
  /** Appends tokens to the text; the first counts as generated if it was drawn just before. */
  accept(tokens: Int32Array): void
  /**
   * Draws from given scores, [vocabSize]; the token drawn is not accepted.
   *
   * @param mask one that follows a text goes on behind the token.
   */
  sample(logits: Float32Array, mask?: NativeMask): NativeSample
}

/** Guesses what a session draws next. A session draws the same tokens with it, in fewer steps. */
export interface NativeDrafter {
  /** Begins with a text, whose last tokens a session appends as it draws. Throws BUSY while one draws. */
  start(text: Int32Array): void
  /** Gives memory back; it then guesses nothing. */
  dispose(): void
}

/**
 * One KV cache. At most one of the asynchronous calls may be under way; each appends its tokens, and
 * leaves the cache as it was when it fails.
 */
export interface NativeSession {
  readonly position: number
  readonly contextLength: number
  /** Scores after the last token, [vocabSize], or after each of them, [tokens.length, vocabSize]. */
  logits(tokens: Int32Array, all: boolean): Promise<Float32Array>
  /**
   * Accepts the tokens in the sampler and draws the next one, which is not appended.
   *
   * With `goesOn` the one after it is begun before it is asked for, as if the caller had done at once
   * what it must do next: call this with the token drawn and the same sampler, or `whenIdle`, which
   * makes the session (though not the sampler) what it was without.
   *
   * @param mask the same in calls that go on; one of words is for one token, and for a call that does not.
   * @param drafter the same in calls that go on; not one that draws for another session.
   * @param left with a drafter: how many tokens the caller may want beyond this one.
   */
  sample(
    tokens: Int32Array,
    sampler: NativeSampler,
    goesOn: boolean,
    mask?: NativeMask,
    drafter?: NativeDrafter,
    left?: number,
  ): Promise<NativeSample>
  /** Scores each target as if it came after `tokens[row]`, by as many rows, which are in order. */
  scores(
    tokens: Int32Array,
    rows: Int32Array,
    targets: Int32Array,
    top: number,
  ): Promise<NativeScores>
  /**
   * Makes the call under way reject with code 'ABORTED', now. The session stays busy until the batch
   * that the call is in has ended: `whenIdle` tells.
   */
  cancel(): void
  whenIdle(): Promise<void>
  rewind(position: number): void
  fork(): NativeSession
  dispose(): void
}
