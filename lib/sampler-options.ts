import { randomBytes } from 'node:crypto'
import { invalidArgument } from './errors.js'
import type { NativeSamplerOptions } from './native-session.js'
import { integer, number, object, optional, type Rule, readOptions } from './options.js'

/**
 * How the next token is chosen from the model's scores. The options apply in the order in which they
 * stand here, which is the order of Hugging Face's `generate`; equally likely tokens rank by id.
 */
export interface SamplerOptions {
  /**
   * What is added to the scores of tokens: from -100, which forbids a token in practice, to 100, which
   * makes it come in practice. A map from token ids, or an object with token ids as keys, as OpenAI's
   * `logit_bias`. None by default.
   */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>> | undefined
  /**
   * Above 0; 1 by default, which is off. The score of each token in the last
   * `repetitionContextSize` is divided by it where positive and multiplied where negative: above 1
   * the text repeats itself less, below 1 more.
   */
  repetitionPenalty?: number | undefined
  /**
   * How many of the last tokens, prompt included, the penalty sees: from 0 up, 64 by default. A token
   * is penalised once, however often it stands among them.
   */
  repetitionContextSize?: number | undefined
  /**
   * What is subtracted from the score of each token that was generated before, once: from -2 to 2; 0 by
   * default. As OpenAI and vLLM have it, tokens of a prompt do not count; llama.cpp counts them.
   */
  presencePenalty?: number | undefined
  /**
   * What is subtracted from the score of a token for each time that it was generated before: from -2 to
   * 2; 0 by default. Tokens of a prompt do not count.
   */
  frequencyPenalty?: number | undefined
  /**
   * From 0 up; 0 by default, which takes the likeliest token each time and leaves nothing to the
   * options below but `logprobs`. Scores are divided by it: at 1 tokens come with the model's own
   * probabilities, below 1 likely ones come more often, above 1 less often.
   */
  temperature?: number | undefined
  /** Draw from this many most likely tokens only: from 0 up; 0 by default, which is off. */
  topK?: number | undefined
  /**
   * Draw from the fewest most likely tokens that have this much of the probability: above 0, at most
   * 1; 1 by default, which is off.
   */
  topP?: number | undefined
  /**
   * Draw from the tokens that are at least this many times as likely as the likeliest one: from 0 to
   * below 1; 0 by default, which is off.
   */
  minP?: number | undefined
  /**
   * Where the random numbers start: an integer from 0 to 2^53 - 1, or a bigint to 2^64 - 1. The same
   * seed draws the same tokens from the same scores on every machine. A new one each time by default.
   */
  seed?: number | bigint | undefined
  /**
   * How many of the likeliest tokens to report with each token, from 0 to 20; 0 by default, which
   * reports none and no log-probability of the token itself either, because they cost a pass over the
   * vocabulary. They are the model's own, before the options above change anything.
   */
  logprobs?: number | undefined
}

type LogitBias = Pick<NativeSamplerOptions, 'biasedTokens' | 'biases'>

/** A rule for each option, also where there are more of them. */
export function samplerRules(vocabSize: number) {
  return {
    logitBias: optional(logitBias(vocabSize), undefined),
    repetitionPenalty: optional(number({ above: 0 }), 1),
    repetitionContextSize: optional(integer(0), 64),
    presencePenalty: optional(number({ min: -2, max: 2 }), 0),
    frequencyPenalty: optional(number({ min: -2, max: 2 }), 0),
    temperature: optional(number({ min: 0 }), 0),
    topK: optional(integer(0), 0),
    topP: optional(number({ above: 0, max: 1 }), 1),
    minP: optional(number({ min: 0, below: 1 }), 0),
    seed,
    logprobs: optional(integer(0, 20), 0),
  }
}

/** @throws OpenELMError INVALID_ARGUMENT */
export function readSamplerOptions(options: unknown, vocabSize: number): NativeSamplerOptions {
  return toNative(readOptions(options, samplerRules(vocabSize)))
}

const noBias: LogitBias = { biasedTokens: new Int32Array(), biases: new Float32Array() }

/** Options that were read, as native code takes them. */
export function toNative({
  logitBias = noBias,
  ...options
}: Omit<NativeSamplerOptions, keyof LogitBias> & {
  logitBias: LogitBias | undefined
}): NativeSamplerOptions {
  return { ...options, ...logitBias }
}

function logitBias(vocabSize: number): Rule<LogitBias> {
  const token = integer(0, vocabSize - 1)
  const bias = number({ min: -100, max: 100 })
  return (name, value) => {
    const entries = value instanceof Map ? [...value] : Object.entries(object(name, value))
    return {
      biasedTokens: Int32Array.from(entries, ([key]) => token(`a key of ${name}`, idOf(key))),
      biases: Float32Array.from(entries, ([key, value]) => bias(`${name}[${key}]`, value)),
    }
  }
}

/** The keys of objects are texts. */
function idOf(key: unknown): unknown {
  return typeof key === 'string' && /^(0|[1-9]\d*)$/.test(key) ? Number(key) : key
}

const seed: Rule<bigint> = (name, value) => {
  if (value === undefined) return randomBytes(8).readBigUInt64LE()
  const isInteger = typeof value === 'number' && Number.isSafeInteger(value)
  const bits = isInteger ? BigInt(value) : value
  if (typeof bits === 'bigint' && bits === BigInt.asUintN(64, bits)) return bits
  throw invalidArgument(name, 'an integer from 0 to 2^53 - 1, or a bigint to 2^64 - 1', value)
}
