import { randomBytes } from 'node:crypto'
import { invalidArgument } from './errors.js'
import type { NativeSamplerOptions } from './native.js'

/**
 * How the next token is chosen from the model's scores. The options apply in the order in which they
 * stand here, which is the order of Hugging Face's `generate`; equally likely tokens rank by id.
 */
export interface SamplerOptions {
  /**
   * Above 0; 1 by default, which is off. The score of each token in the last
   * `repetitionContextSize` is divided by it where positive and multiplied where negative: above 1
   * the text repeats itself less, below 1 more.
   */
  repetitionPenalty?: number
  /**
   * How many of the last tokens, prompt included, the penalty sees: from 0 up, 64 by default. A token
   * is penalised once, however often it stands among them.
   */
  repetitionContextSize?: number
  /**
   * From 0 up; 0 by default, which takes the likeliest token each time and leaves nothing to the
   * options below but `logprobs`. Scores are divided by it: at 1 tokens come with the model's own
   * probabilities, below 1 likely ones come more often, above 1 less often.
   */
  temperature?: number
  /** Draw from this many most likely tokens only: from 0 up; 0 by default, which is off. */
  topK?: number
  /**
   * Draw from the fewest most likely tokens that have this much of the probability: above 0, at most
   * 1; 1 by default, which is off.
   */
  topP?: number
  /**
   * Draw from the tokens that are at least this many times as likely as the likeliest one: from 0 to
   * below 1; 0 by default, which is off.
   */
  minP?: number
  /**
   * Where the random numbers start: an integer from 0 to 2^53 - 1, or a bigint to 2^64 - 1. The same
   * seed draws the same tokens from the same scores on every machine. A new one each time by default.
   */
  seed?: number | bigint
  /**
   * How many of the likeliest tokens to report with each token, from 0 to 20; 0 by default, which
   * reports none and no log-probability of the token itself either, because they cost a pass over the
   * vocabulary. They are the model's own, before the options above change anything.
   */
  logprobs?: number
}

interface Rule {
  default: number
  expected: string
  accepts(value: number): boolean
}

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0

const rules: Record<Exclude<keyof SamplerOptions, 'seed'>, Rule> = {
  repetitionPenalty: {
    default: 1,
    expected: 'a finite number above 0',
    accepts: value => value > 0 && value < Infinity,
  },
  repetitionContextSize: { default: 64, expected: 'an integer from 0 up', accepts: isCount },
  temperature: {
    default: 0,
    expected: 'a finite number from 0 up',
    accepts: value => value >= 0 && value < Infinity,
  },
  topK: { default: 0, expected: 'an integer from 0 up', accepts: isCount },
  topP: {
    default: 1,
    expected: 'a number above 0 and at most 1',
    accepts: value => value > 0 && value <= 1,
  },
  minP: {
    default: 0,
    expected: 'a number from 0 to below 1',
    accepts: value => value >= 0 && value < 1,
  },
  logprobs: {
    default: 0,
    expected: 'an integer from 0 to 20',
    accepts: value => isCount(value) && value <= 20,
  },
}

/** Checks what a caller gave and fills in the defaults. Keys of other things are left alone. */
export function validateSamplerOptions(options: unknown): NativeSamplerOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'an object', options)
  }
  const given: { [Name in keyof SamplerOptions]?: unknown } = options

  const read = (name: keyof typeof rules): number => {
    const rule = rules[name]
    const value = given[name] === undefined ? rule.default : given[name]
    if (typeof value !== 'number' || !rule.accepts(value)) {
      throw invalidArgument(`options.${name}`, rule.expected, value)
    }
    return value
  }

  return {
    temperature: read('temperature'),
    topK: read('topK'),
    topP: read('topP'),
    minP: read('minP'),
    repetitionPenalty: read('repetitionPenalty'),
    repetitionContextSize: read('repetitionContextSize'),
    seed: readSeed(given.seed),
    logprobs: read('logprobs'),
  }
}

function readSeed(value: unknown): bigint {
  if (value === undefined) return randomBytes(8).readBigUInt64LE()
  const isInteger = typeof value === 'number' && Number.isSafeInteger(value)
  const seed = isInteger ? BigInt(value) : value
  if (typeof seed !== 'bigint' || seed !== BigInt.asUintN(64, seed)) {
    throw invalidArgument(
      'options.seed',
      'an integer from 0 to 2^53 - 1, or a bigint to 2^64 - 1',
      value,
    )
  }
  return seed
}
