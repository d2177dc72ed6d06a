import { number, optional, type Rule, type RulesOf, readOptions, string } from '../options.js'

/** An adapter, and how much of it. */
export interface AdapterSpec {
  /** A directory of PEFT or mlx-lm, or a .safetensors file with CoreNet's names. */
  path: string
  /** What the adapter's own scale is multiplied with. Default 1. */
  scale?: number | undefined
}

/** An adapter to be loaded beside others. */
export interface NamedAdapterSpec extends AdapterSpec {
  /** What it is called. Default the name of its directory or file, without `.safetensors`. */
  name?: string | undefined
}

export const adapterScale = number({ min: -Number.MAX_VALUE })

const rules = { path: string, scale: optional(adapterScale, 1) } satisfies RulesOf<AdapterSpec>
const namedRules = { ...rules, name: optional(string) } satisfies RulesOf<NamedAdapterSpec>

export const adapterSpec: Rule<{ path: string; scale: number }> = (name, value) =>
  readOptions(typeof value === 'string' ? { path: value } : (value ?? null), rules, name)

export const namedAdapterSpec: Rule<{ path: string; scale: number; name: string | undefined }> = (
  name,
  value,
) => readOptions(typeof value === 'string' ? { path: value } : (value ?? null), namedRules, name)
