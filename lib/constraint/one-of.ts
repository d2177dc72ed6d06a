import { type Facets, type Part, partsOf, textOf } from './facets.js'
import type { SchemaParts } from './schema-parts.js'

const allTypes = ['null', 'boolean', 'object', 'array', 'string', 'integer', 'fraction']
const maxDepth = 6

/** The names of types, as {@link Facets} has them, that values are generated of. */
export function generatedTypes(facets: Facets): ReadonlySet<string> {
  if (facets.types) return facets.types
  return facets.implied.size > 0 ? facets.implied : new Set(allTypes)
}

export function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'fraction'
  return typeof value
}

/** What a value under a name must be. */
export function viewOf(facets: Facets, name: string): Part[] {
  return facets.keys.flatMap(
    ({ properties, additional }) => properties.get(name) ?? additional ?? [],
  )
}

/** Whether objects have other keys than those that are named. */
export function isOpen({ keys, required }: Facets): boolean {
  if (keys.some(({ additional }) => additional !== undefined)) {
    return keys.every(({ additional }) => additional?.schema !== false)
  }
  return required.size === 0 && keys.every(({ properties }) => properties.size === 0)
}

/**
 * Whether it is certain that nothing that is generated for one schema is valid by another: by its type,
 * by the values of an enum, or by a key that tells objects apart.
 */
export function excludes(
  schemas: SchemaParts,
  generated: readonly Part[],
  others: readonly Part[],
  depth = 0,
): boolean {
  if (depth > maxDepth) return false
  const a = schemas.facets(generated)
  const b = schemas.facets(others)
  if (a.isImpossible || b.isImpossible) return true
  const [choiceOfA] = a.choices
  if (choiceOfA) {
    const each = eachChoice(schemas.followed(generated), choiceOfA)
    return each.every(parts => excludes(schemas, parts, others, depth + 1))
  }
  const [choiceOfB] = b.choices
  if (choiceOfB) {
    const each = eachChoice(schemas.followed(others), choiceOfB)
    return each.every(parts => excludes(schemas, generated, parts, depth + 1))
  }
  const typesOfA = new Set(a.values ? a.values.map(typeOf) : generatedTypes(a))
  const typesOfB = new Set(b.values ? b.values.map(typeOf) : (b.types ?? allTypes))
  const common = [...typesOfA].filter(type => typesOfB.has(type) && (a.types?.has(type) ?? true))
  if (common.length === 0) return true
  if (a.values && b.values) {
    const texts = new Set(b.values.map(textOf))
    return a.values.every(value => !texts.has(textOf(value)))
  }
  if (common.some(type => type !== 'object') || a.values) return false
  return hasTellingKey(schemas, a, b, depth)
}

function hasTellingKey(schemas: SchemaParts, a: Facets, b: Facets, depth: number): boolean {
  const names = new Set(a.keys.flatMap(({ properties }) => [...properties.keys()]))
  const isMissing = (name: string) => !names.has(name) && !a.required.has(name) && !isOpen(a)
  if ([...b.required].some(isMissing)) return true
  return [...a.required].some(name =>
    excludes(schemas, viewOf(a, name), viewOf(b, name), depth + 1),
  )
}

/** Schemas, once with each of the choices that one of them leaves. */
export function eachChoice(parts: readonly Part[], choice: Facets['choices'][number]): Part[][] {
  const { part, keyword } = choice
  const rest = parts.map(other =>
    other.pointer === part.pointer
      ? { ...other, skipped: [...(other.skipped ?? []), keyword] }
      : other,
  )
  const schema = part.schema as Readonly<Record<string, unknown>>
  return partsOf(schema, keyword, part.pointer).map(alternative => [...rest, alternative])
}
