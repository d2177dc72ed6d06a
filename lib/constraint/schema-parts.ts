import {
  emptyFacets,
  type Facets,
  isSchemaObject,
  type Part,
  partsOf,
  readFacets,
  saysNothing,
  unsupported,
} from './facets.js'

/** The schemas of one document, followed through `$ref` and `allOf`. */
export class SchemaParts {
  readonly root: unknown

  constructor(root: unknown) {
    this.root = root
  }

  /** Schemas, those that they refer to, and those of which they are made, but for what says nothing. */
  followed(parts: readonly Part[]): Part[] {
    const result = new Map<string, Part>()
    const visit = (part: Part, trail: readonly string[]): void => {
      const key = keyOf(part)
      if (trail.includes(key)) unsupported('$ref', part.pointer, 'leads back to itself')
      if (result.has(key)) return
      const { schema, pointer } = part
      if (!saysNothing(part)) result.set(key, part)
      if (!isSchemaObject(schema)) return
      if (Object.hasOwn(schema, '$ref')) visit(this.#resolve(schema.$ref, pointer), [...trail, key])
      if (!Object.hasOwn(schema, 'allOf')) return
      for (const member of partsOf(schema, 'allOf', pointer)) visit(member, [...trail, key])
    }
    for (const part of parts) visit(part, [])
    return [...result.values()]
  }

  /** What schemas say together. */
  facets(parts: readonly Part[]): Facets {
    const facets = emptyFacets()
    for (const part of this.followed(parts)) readFacets(facets, part)
    return facets
  }

  #resolve(reference: unknown, pointer: string): Part {
    const fail = (why: string): never => unsupported('$ref', pointer, why)
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference)) {
      return fail(`is not of the form #/...: ${reference}`)
    }
    let schema = this.root
    let path = '#'
    for (const step of reference.split('/').slice(1)) {
      const name = decoded(step).replace(/~1/g, '/').replace(/~0/g, '~')
      const isThere = typeof schema === 'object' && schema !== null && Object.hasOwn(schema, name)
      if (!isThere) return fail(`leads nowhere: ${reference}`)
      schema = (schema as Record<string, unknown>)[name]
      path += `/${name.replace(/~/g, '~0').replace(/\//g, '~1')}`
    }
    return { schema, pointer: path }
  }
}

/** The same for the same schemas. */
export function keyOfAll(parts: readonly Part[]): string {
  return parts.map(keyOf).sort().join(' ')
}

function keyOf({ pointer, skipped = [] }: Part): string {
  return JSON.stringify([pointer, ...skipped])
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    return step
  }
}
