import { invalidArgument } from '../errors.js'
import type { Rule } from '../options.js'
import { tooComplex } from './too-complex.js'

/**
 * A JSON schema, of draft 2020-12: an object such as `{ type: 'object', properties: … }`, as
 * `z.toJSONSchema` makes it, or as JSON.parse reads it.
 */
export type JsonSchema = object

/** What a constraint is made of: a copy. */
export type ConstraintSource =
  | { readonly kind: 'schema'; readonly schema: unknown; readonly text: string }
  | { readonly kind: 'regExp'; readonly source: string; readonly flags: string }

/** The same for the same constraint. */
export function keyOfSource(source: ConstraintSource): string {
  return source.kind === 'schema' ? source.text : `/${source.source}/${source.flags}`
}

const maxLength = 2 ** 20
const maxDepth = 256

export const constraintSource: Rule<ConstraintSource> = (name, value) => {
  const fail = () => invalidArgument(name, 'a JSON schema or a RegExp', value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail()
  // Also of another realm.
  if (Object.prototype.toString.call(value) === '[object RegExp]') {
    const { source, flags } = value as RegExp
    return { kind: 'regExp', source: String(source), flags: String(flags) }
  }
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // It holds itself, is too deep, or holds what is no JSON.
  }
  if (text === undefined) throw fail()
  if (text.length > maxLength) throw tooComplex(`longer than ${maxLength} characters`)
  const schema: unknown = JSON.parse(text)
  if (isDeeper(schema, maxDepth)) throw tooComplex(`nested deeper than ${maxDepth}`)
  return { kind: 'schema', schema, text }
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some(member => isDeeper(member, depth - 1))
}
