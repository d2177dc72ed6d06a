import { runInNewContext } from 'node:vm'
import { describe, OpenELMError } from '../errors.js'
import type { JsonObject } from '../strict-json.js'

/** What an adapter's weights do not say. */
export interface AdapterConfig {
  readonly format: 'peft' | 'mlx'
  /** What the base model is called. */
  readonly base: string | undefined
  readonly usesDora: boolean
  readonly adaptsHead: boolean
  /** The scale of a matrix with an adapter of so many rows; `module` is its name without `.weight`. */
  readonly scaleOf: (module: string, rank: number) => number
}

/**
 * Reads an adapter_config.json of PEFT or of mlx-lm. What would make another model of the adapter is
 * refused by name; keys that change nothing are ignored.
 *
 * @throws OpenELMError INVALID_ADAPTER
 */
export function readAdapterConfig(file: string, json: JsonObject): AdapterConfig {
  const fail = (what: string): never => {
    throw new OpenELMError('INVALID_ADAPTER', `${file}: ${what}`)
  }
  if (json.peft_type !== undefined) return readPeft(json, fail)
  if (json.fine_tune_type !== undefined || json.lora_parameters !== undefined) {
    return readMlx(json, fail)
  }
  return fail('expected peft_type, as PEFT writes it, or lora_parameters, as mlx-lm does')
}

type Fail = (what: string) => never

/** Keys of PEFT that change the model in a way that is not an adapter's, and what they may be. */
const refused: Readonly<Record<string, readonly unknown[]>> = {
  fan_in_fan_out: [false],
  bias: ['none'],
  lora_bias: [false],
  modules_to_save: ['[]'],
  layer_replication: ['[]'],
  target_parameters: ['[]'],
  trainable_token_indices: ['[]', '{}'],
  use_qalora: [false],
  use_bdlora: [false],
  arrow_config: [],
  alora_invocation_tokens: ['[]'],
  velora_config: [],
  monteclora_config: [],
  kasa_config: [],
}

/** Ways to begin that also change the weights of the base, or freeze a part of the adapter. */
const foreignStart = /^(pissa|olora|corda|lora_ga|loftq|mica)/i

function readPeft(json: JsonObject, fail: Fail): AdapterConfig {
  if (json.peft_type !== 'LORA') fail(`expected peft_type "LORA", received ${show(json.peft_type)}`)
  for (const [key, allowed] of Object.entries(refused)) {
    const value = json[key]
    if (value === undefined || value === null) continue
    if (allowed.includes(value) || allowed.includes(JSON.stringify(value))) continue
    fail(`adapters with ${key} ${show(value)} are not supported`)
  }
  const start = json.init_lora_weights
  if (typeof start === 'string' && foreignStart.test(start)) {
    fail(`init_lora_weights ${show(start)} changes the weights of the base as well`)
  }
  const alpha = positive(json, 'lora_alpha', fail)
  const patterns = Object.entries(objectOf(json.alpha_pattern)).map(([key, value]) => {
    if (typeof value !== 'number') fail(`alpha_pattern: expected a number for ${show(key)}`)
    return { matches: matcher(key, fail), alpha: value as number }
  })
  const isRankStabilised = json.use_rslora === true
  return {
    format: 'peft',
    base: textOf(json.base_model_name_or_path),
    usesDora: json.use_dora === true,
    adaptsHead: json.ensure_weight_tying === true,
    scaleOf: (module, rank) => {
      const own = patterns.find(({ matches }) => matches(module))?.alpha ?? alpha
      return own / (isRankStabilised ? Math.sqrt(rank) : rank)
    },
  }
}

/** Whether a key of a pattern means a module: its whole path, the end of it, or a regular expression. */
function matcher(key: string, fail: Fail): (module: string) => boolean {
  try {
    const form = new RegExp(`^(?:.*\\.)?(?:${key})$`)
    return module => module === key || module.endsWith(`.${key}`) || testSoon(form, module)
  } catch {
    return fail(`alpha_pattern: ${show(key)} is not a regular expression`)
  }
}

/** A file may hold an expression that takes for ever, which is then one that does not match. */
function testSoon(form: RegExp, text: string): boolean {
  try {
    return runInNewContext('form.test(text)', { form, text }, { timeout: 20 })
  } catch {
    return false
  }
}

function readMlx(json: JsonObject, fail: Fail): AdapterConfig {
  const type = json.fine_tune_type ?? (json.use_dora === true ? 'dora' : 'lora')
  if (type !== 'lora' && type !== 'dora') {
    fail(`expected fine_tune_type "lora" or "dora", received ${show(type)}: that is no adapter`)
  }
  const scale = positive(objectOf(json.lora_parameters), 'scale', fail)
  return {
    format: 'mlx',
    base: textOf(json.model),
    usesDora: type === 'dora',
    adaptsHead: true,
    scaleOf: () => scale,
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function positive(json: JsonObject, key: string, fail: Fail): number {
  const value = json[key]
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value
  return fail(`expected ${key} to be a number above 0, received ${show(value)}`)
}

function objectOf(value: unknown): JsonObject {
  return typeof value === 'object' && value !== null ? (value as JsonObject) : {}
}

function show(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : describe(value)
}
