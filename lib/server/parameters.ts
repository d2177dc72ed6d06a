import { checkGenerateOptions, type GenerateOptions } from '../index.js'
import {
  arrayOf,
  boolean,
  integer,
  number,
  object,
  optional,
  type Rule,
  type RulesOf,
  string,
  type ValuesOf,
} from '../options.js'
import type { Context } from './context.js'
import { ApiError, toApiError, unsupportedParameter } from './openai-error.js'

/** Prompts times choices of one request. */
const maxChoices = 128

type Body = Readonly<Record<string, unknown>>

/**
 * The parameters that rules know, of a request whose client may send others: those mean nothing here. What
 * is null is not there.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readParameters<Rules extends Readonly<Record<string, Rule<unknown>>>>(
  body: Body,
  rules: Rules,
): ValuesOf<Rules> {
  const read = ([name, rule]: [string, Rule<unknown>]) => {
    return [name, rule(name, Object.hasOwn(body, name) ? (body[name] ?? undefined) : undefined)]
  }
  return Object.fromEntries(Object.entries(rules).map(read)) as ValuesOf<Rules>
}

const stops = arrayOf(string)

/** The names of the API for parameters whose values it checks. */
const optionNames = {
  top_p: 'topP',
  top_k: 'topK',
  min_p: 'minP',
  repeat_penalty: 'repetitionPenalty',
  repeat_last_n: 'repetitionContextSize',
  presence_penalty: 'presencePenalty',
  frequency_penalty: 'frequencyPenalty',
  logit_bias: 'logitBias',
  ignore_eos: 'ignoreEos',
  stop: 'stopSequences',
} as const

/** The parameters by the names of the API. */
export const parameterNames: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(optionNames).map(([name, option]) => [option, name])),
  responseConstraint: 'response_format',
}

const commonRules = {
  temperature: optional(number({ min: 0, max: 2 }), 1),
  stop: optional((name, value) => {
    const texts = typeof value === 'string' ? [value] : stops(name, value)
    if (texts.length <= 4) return texts
    throw new ApiError(400, `expected ${name} to be at most 4 texts, received ${texts.length}`, {
      code: 'invalid_value',
      param: name,
    })
  }),
  n: optional(integer(1, maxChoices), 1),
  best_of: optional(integer(1, maxChoices)),
  stream: optional(boolean, false),
  stream_options: optional(object),
  cache_prompt: optional(boolean, true),
  user: (): undefined => undefined,
} satisfies RulesOf<Record<string, unknown>>

/** What completions and chat completions have in common. */
export interface CommonParameters {
  readonly options: GenerateOptions
  readonly choices: number
  readonly streams: boolean
  readonly includesUsage: boolean
  readonly cachePrompt: boolean
}

/** @throws OpenELMError INVALID_ARGUMENT, ApiError 400 */
export function readCommonParameters(
  body: Body,
  { model, settings }: Context,
  numPrompts: number,
): CommonParameters {
  const { n, ...values } = readParameters(body, commonRules)
  if (n > settings.maxChoices || n * numPrompts > maxChoices) {
    const message = `expected n to be at most ${settings.maxChoices}, and ${maxChoices} choices for all prompts`
    throw new ApiError(400, message, { code: 'invalid_value', param: 'n' })
  }
  if (values.best_of !== undefined && values.best_of > n) {
    throw unsupportedParameter('best_of', 'ask for n choices, and choose')
  }
  const { include_usage } = readParameters(
    values.stream_options ? { ...values.stream_options } : {},
    {
      include_usage: optional(boolean, false),
    },
  )
  return {
    options: readOptions({ ...body, stop: values.stop }, values.temperature, model.contextLength),
    choices: n,
    streams: values.stream,
    includesUsage: include_usage,
    cachePrompt: values.cache_prompt,
  }
}

/** @throws ApiError 400 */
function readOptions(body: Body, temperature: number, contextLength: number): GenerateOptions {
  const given = Object.entries(optionNames).map(([parameter, option]) => [option, body[parameter]])
  const options = Object.fromEntries(
    given.filter(([, value]) => value !== undefined && value !== null),
  )
  // Minus one is what llama.cpp and vLLM have for all, none and any.
  if (options.topK === -1) options.topK = 0
  if (options.repetitionContextSize === -1) options.repetitionContextSize = contextLength
  const seed = body.seed === -1 ? undefined : (body.seed ?? undefined)
  const all = { ...options, temperature, seed }
  try {
    checkGenerateOptions(all)
  } catch (error) {
    throw toApiError(error, parameterNames)
  }
  return all
}

/**
 * Refuses parameters that mean something else than nothing.
 *
 * @throws ApiError 400 unsupported_parameter
 */
export function refuse(body: Body, reasons: Readonly<Record<string, string>>): void {
  for (const [name, reason] of Object.entries(reasons)) {
    const value = Object.hasOwn(body, name) ? body[name] : null
    const isNeutral = value === undefined || value === null || value === '' || value === 'none'
    if (!isNeutral && !(Array.isArray(value) && value.length === 0)) {
      throw unsupportedParameter(name, reason)
    }
  }
}
