import { invalidArgument, OpenELMError } from '../errors.js'
import type { Bound } from './numbers.js'

/** A schema in its place, which is a JSON pointer: `#/properties/name`. */
export interface Part {
  readonly schema: unknown
  readonly pointer: string
  /** Keywords that are looked at elsewhere. */
  readonly skipped?: readonly string[]
}

/** What one schema says of the keys of objects. */
export interface Keys {
  readonly properties: ReadonlyMap<string, Part>
  readonly additional: Part | undefined
}

/** What one schema says of the elements of arrays. */
export interface Elements {
  readonly prefix: readonly Part[]
  readonly rest: Part | undefined
}

/** A bound, and the schema that has it. */
export type BoundIn = Bound & { readonly pointer: string }

/** What several schemas say together. */
export interface Facets {
  /** 'fraction' is what numbers are that are no integers. */
  types: ReadonlySet<string> | undefined
  /** The types that keywords other than `type` are about. */
  readonly implied: Set<string>
  values: readonly unknown[] | undefined
  readonly choices: { readonly part: Part; readonly keyword: 'anyOf' | 'oneOf' }[]
  readonly keys: Keys[]
  readonly required: Set<string>
  readonly propertyNames: Part[]
  minProperties: number
  maxProperties: number
  readonly elements: Elements[]
  minItems: number
  maxItems: number
  minLength: number
  maxLength: number
  readonly patterns: { readonly source: string; readonly pointer: string }[]
  readonly formats: { readonly name: string; readonly pointer: string }[]
  minimum: BoundIn | undefined
  maximum: BoundIn | undefined
  /** Whether there is no value at all. */
  isImpossible: boolean
}

type Reader = (facets: Facets, value: unknown, pointer: string, schema: Schema) => void
type Schema = Readonly<Record<string, unknown>>

/** @throws always */
export function unsupported(keyword: string, pointer: string, why = 'is not supported'): never {
  const message = `the schema has ${keyword} at ${pointer}, which ${why}`
  const argument = 'options.responseConstraint'
  throw new OpenELMError('INVALID_ARGUMENT', message, { argument })
}

function wrong(pointer: string, expected: string, value: unknown): never {
  throw invalidArgument(`options.responseConstraint ${pointer}`, expected, value)
}

export function isSchemaObject(schema: unknown): schema is Schema {
  return typeof schema === 'object' && schema !== null && !Array.isArray(schema)
}

/** Keywords that say nothing of what is valid. */
const annotations = new Set([
  ...['$schema', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly', 'contentEncoding', 'contentMediaType'],
])

/** What follows references and `allOf` finds. */
const followed = new Set(['$ref', 'allOf'])

export function emptyFacets(): Facets {
  const infinite = Number.POSITIVE_INFINITY
  return {
    types: undefined,
    implied: new Set(),
    values: undefined,
    choices: [],
    keys: [],
    required: new Set(),
    propertyNames: [],
    minProperties: 0,
    maxProperties: infinite,
    elements: [],
    minItems: 0,
    maxItems: infinite,
    minLength: 0,
    maxLength: infinite,
    patterns: [],
    formats: [],
    minimum: undefined,
    maximum: undefined,
    isImpossible: false,
  }
}

/** Whether a schema has no keyword of its own, but perhaps others that it refers to. */
export function saysNothing({ schema, skipped = [] }: Part): boolean {
  if (!isSchemaObject(schema)) return schema === true
  return Object.keys(schema).every(
    keyword => annotations.has(keyword) || followed.has(keyword) || skipped.includes(keyword),
  )
}

/** Adds what one schema says, but for `$ref` and `allOf`. */
export function readFacets(facets: Facets, part: Part): void {
  const { schema, pointer, skipped = [] } = part
  if (schema === false) facets.isImpossible = true
  if (typeof schema === 'boolean') return
  if (!isSchemaObject(schema)) wrong(pointer, 'a schema', schema)
  for (const [keyword, value] of Object.entries(schema)) {
    if (annotations.has(keyword) || followed.has(keyword) || skipped.includes(keyword)) continue
    const reader = Object.hasOwn(readers, keyword) ? readers[keyword] : undefined
    if (keyword.startsWith('x-')) continue
    if (!reader) unsupported(keyword, pointer)
    reader(facets, value, pointer, schema)
  }
  const hasKeys = 'properties' in schema || 'additionalProperties' in schema
  if (hasKeys) facets.keys.push(keysOf(schema, pointer))
  if ('prefixItems' in schema || 'items' in schema)
    facets.elements.push(elementsOf(schema, pointer))
}

/** The parts that a keyword with a list of schemas has. */
export function partsOf(schema: Schema, keyword: string, pointer: string): Part[] {
  const list = schema[keyword]
  const at = `${pointer}/${keyword}`
  if (!Array.isArray(list) || list.length === 0) return wrong(at, 'a list of schemas', list)
  return list.map((schema, i) => ({ schema, pointer: `${at}/${i}` }))
}

const integerTypes = ['integer']
const numberTypes = ['integer', 'fraction']

/** The types that `type` may name, as {@link Facets} has them. */
const typesOf: Readonly<Record<string, readonly string[]>> = {
  null: ['null'],
  boolean: ['boolean'],
  object: ['object'],
  array: ['array'],
  string: ['string'],
  integer: integerTypes,
  number: numberTypes,
}

const readers: Readonly<Record<string, Reader>> = {
  type(facets, value, pointer) {
    const names: unknown[] = Array.isArray(value) ? value : [value]
    const types = names.flatMap(name => {
      const known = typeof name === 'string' && Object.hasOwn(typesOf, name) && typesOf[name]
      return known || wrong(`${pointer}/type`, 'the name of a type', name)
    })
    const before = facets.types
    facets.types = new Set(before ? types.filter(type => before.has(type)) : types)
  },
  enum: (facets, value, pointer) => {
    if (!Array.isArray(value)) wrong(`${pointer}/enum`, 'a list', value)
    addValues(facets, value)
  },
  const: (facets, value) => addValues(facets, [value]),
  anyOf: (facets, _, pointer, schema) => {
    facets.choices.push({ part: { schema, pointer }, keyword: 'anyOf' })
  },
  oneOf: (facets, _, pointer, schema) => {
    facets.choices.push({ part: { schema, pointer }, keyword: 'oneOf' })
  },
  $id: (_, value, pointer) => {
    // References below another base are of another document.
    if (pointer !== '#') unsupported('$id', pointer, `is not supported but at the root: ${value}`)
  },
  properties: (facets, value, pointer) => {
    if (!isSchemaObject(value)) wrong(`${pointer}/properties`, 'an object', value)
    facets.implied.add('object')
  },
  additionalProperties: facets => void facets.implied.add('object'),
  required: (facets, value, pointer) => {
    const at = `${pointer}/required`
    if (!Array.isArray(value)) wrong(at, 'a list of names', value)
    for (const name of value) {
      facets.required.add(typeof name === 'string' ? name : wrong(at, 'a list of names', name))
    }
    facets.implied.add('object')
  },
  propertyNames: (facets, schema, pointer) => {
    facets.propertyNames.push({ schema, pointer: `${pointer}/propertyNames` })
    facets.implied.add('object')
  },
  minProperties: lower('minProperties', 'object'),
  maxProperties: upper('maxProperties', 'object'),
  items: facets => void facets.implied.add('array'),
  prefixItems: (facets, _, pointer, schema) => {
    partsOf(schema, 'prefixItems', pointer)
    facets.implied.add('array')
  },
  minItems: lower('minItems', 'array'),
  maxItems: upper('maxItems', 'array'),
  uniqueItems: (_, value, pointer) => {
    if (value !== false) unsupported('uniqueItems', pointer)
  },
  minLength: lower('minLength', 'string'),
  maxLength: upper('maxLength', 'string'),
  pattern: (facets, source, pointer) => {
    if (typeof source !== 'string') wrong(`${pointer}/pattern`, 'a string', source)
    facets.patterns.push({ source, pointer })
    facets.implied.add('string')
  },
  format: (facets, name, pointer) => {
    if (typeof name !== 'string') wrong(`${pointer}/format`, 'a string', name)
    facets.formats.push({ name, pointer })
    facets.implied.add('string')
  },
  minimum: bound('minimum', false),
  maximum: bound('maximum', false),
  exclusiveMinimum: bound('minimum', true),
  exclusiveMaximum: bound('maximum', true),
}

function addValues(facets: Facets, values: readonly unknown[]): void {
  const texts = new Set(values.map(textOf))
  facets.values = facets.values?.filter(value => texts.has(textOf(value))) ?? values
}

/** The same for equal values, whatever the order of their keys. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    isSchemaObject(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )
}

type Counts = 'Properties' | 'Items' | 'Length'

function lower(keyword: `min${Counts}`, type: string): Reader {
  return (facets, value, pointer) => {
    facets[keyword] = Math.max(facets[keyword], count(value, `${pointer}/${keyword}`))
    facets.implied.add(type)
  }
}

function upper(keyword: `max${Counts}`, type: string): Reader {
  return (facets, value, pointer) => {
    facets[keyword] = Math.min(facets[keyword], count(value, `${pointer}/${keyword}`))
    facets.implied.add(type)
  }
}

function count(value: unknown, pointer: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  return wrong(pointer, 'an integer from 0 up', value)
}

function bound(side: 'minimum' | 'maximum', isExclusive: boolean): Reader {
  return (facets, value, pointer) => {
    if (typeof value !== 'number') wrong(`${pointer}/${side}`, 'a number', value)
    const before = facets[side]
    const isTighter =
      !before ||
      (side === 'minimum' ? value > before.value : value < before.value) ||
      (value === before.value && isExclusive)
    if (isTighter) facets[side] = { value, isExclusive, pointer }
    for (const type of numberTypes) facets.implied.add(type)
  }
}

function keysOf(schema: Schema, pointer: string): Keys {
  const properties = new Map<string, Part>()
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const step = name.replace(/~/g, '~0').replace(/\//g, '~1')
    properties.set(name, { schema: property, pointer: `${pointer}/properties/${step}` })
  }
  const additional =
    'additionalProperties' in schema
      ? { schema: schema.additionalProperties, pointer: `${pointer}/additionalProperties` }
      : undefined
  return { properties, additional }
}

function elementsOf(schema: Schema, pointer: string): Elements {
  const prefix = 'prefixItems' in schema ? partsOf(schema, 'prefixItems', pointer) : []
  const rest = 'items' in schema ? { schema: schema.items, pointer: `${pointer}/items` } : undefined
  return { prefix, rest }
}
