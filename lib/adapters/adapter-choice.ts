import { arrayOf, optional, type Rule, type RulesOf, readOptions, string } from '../options.js'
import { adapterScale } from './adapter-spec.js'

/** An adapter of several that are used together, and how much of it. */
export interface AdapterShare {
  /** One of `OpenELM.adapters`. */
  name: string
  /** Multiplies the scale that it was loaded with. Default 1. */
  scale?: number | undefined
}

/** Which adapter to compute with. */
export interface AdapterOption {
  /**
   * The name of one that is loaded, or several LoRA adapters, whose changes are added up; null for the
   * model as it is. A DoRA adapter stands alone, at the scale that it was loaded with. Default the one that
   * is loaded; none if there are several.
   */
  adapter?: string | readonly AdapterShare[] | null | undefined
}

/** {@link AdapterOption}, checked: undefined where the choice is the model's. */
export type AdapterChoice = readonly { name: string; scale: number }[] | undefined

const shareRules = {
  name: string,
  scale: optional(adapterScale, 1),
} satisfies RulesOf<AdapterShare>

const shares = arrayOf(
  (name, value) => readOptions(value ?? null, shareRules, name),
  'the name of an adapter, an array of them with scales, or null',
)

const adapterChoice: Rule<AdapterChoice> = (name, value) => {
  if (value === undefined) return undefined
  if (value === null) return []
  return typeof value === 'string' ? [{ name: value, scale: 1 }] : shares(name, value)
}

export const adapterRules = { adapter: adapterChoice } satisfies RulesOf<AdapterOption>
