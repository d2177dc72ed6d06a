import { type CallOptions, callRules } from './call-options.js'
import type { TokenLogprob } from './generation-stream.js'
import type { NativeScores } from './native-session.js'
import { integer, optional, type RulesOf } from './options.js'

export interface ScoresOptions extends CallOptions {
  /** How many of the likeliest tokens to report in the place of each: from 0 to 20. Default 0. */
  top?: number | undefined
}

export const scoresRules = {
  ...callRules,
  top: optional(integer(0, 20), 0),
} satisfies RulesOf<ScoresOptions>

/** How likely the model finds a continuation. */
export interface Score {
  /** The sum of the natural logarithms of the probabilities of its tokens. */
  readonly logprob: number
  /** How many tokens it has. */
  readonly tokens: number
  /** Whether greedy decoding would produce it. */
  readonly isGreedy: boolean
}

/** How likely the model finds a token after those before it. */
export interface TokenScore extends TokenLogprob {
  /** The likeliest tokens in its place, most likely first: as many as `top` says. */
  readonly topLogprobs: readonly TokenLogprob[]
}

/** @param scores of the tokens of a continuation, with at least the likeliest token in each place. */
export function scoreOf(scores: readonly TokenScore[]): Score {
  return {
    logprob: scores.reduce((sum, { logprob }) => sum + logprob, 0),
    tokens: scores.length,
    isGreedy: scores.every(({ token, topLogprobs }) => token === topLogprobs[0]?.token),
  }
}

/** @param scores of `tokens`. */
export function tokenScores(tokens: Int32Array, scores: NativeScores): TokenScore[] {
  const top = scores.topTokens.length / Math.max(1, tokens.length)
  return Array.from(tokens, (token, i) => ({
    token,
    logprob: scores.logprobs[i]!,
    topLogprobs: tokenLogprobs(
      scores.topTokens.subarray(i * top, (i + 1) * top),
      scores.topLogprobs.subarray(i * top, (i + 1) * top),
    ),
  }))
}

/** Pairs of tokens and log-probabilities, without the places that no token has (-1). */
export function tokenLogprobs(tokens: Int32Array, logprobs: Float32Array): TokenLogprob[] {
  const pairs = Array.from(tokens, (token, i) => ({ token, logprob: logprobs[i]! }))
  return pairs.filter(({ token }) => token >= 0)
}

/** So many rows from `first` on: where each token of a sequence is scored. */
export function rowsFrom(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => first + i)
}
