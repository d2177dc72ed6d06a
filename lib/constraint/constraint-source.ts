import { invalidArgument } from '../errors.js'
import type { Rule } from '../options.js'
import { tooComplex } from './regular.js'

/**
 * A JSON schema, of draft 2020-12: an object such as `{ type: 'object', properties: … }`, as
 * `z.toJSONSchema` makes it, or as JSON.parse reads it.
 */
export type JsonSchema = object

/** What a constraint is made of: a copy, and the same text for the same constraint. */
export interface ConstraintSource {
  readonly kind: 'schema' | 'regExp'
  readonly text: string
  /** Of a regular expression. */
  readonly flags: string
}

const maxLength = 2 ** 20
const maxDepth = 256

export const constraintSource: Rule<ConstraintSource> = (name, value) => {
  const fail = () => invalidArgument(name, 'a JSON schema or a RegExp', value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail()
  // Also of another realm.
  if (Object.prototype.toString.call(value) === '[object RegExp]') {
    const { source, flags } = value as RegExp
    return { kind: 'regExp', text: String(source), flags: String(flags) }
  }
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // It holds itself, is too deep, or holds what is no JSON.
  }
  if (text === undefined) throw fail()
  if (text.length > maxLength) throw tooComplex(`longer than ${maxLength} characters`)
  if (depthOf(text) > maxDepth) throw tooComplex(`nested deeper than ${maxDepth}`)
  return { kind: 'schema', text, flags: '' }
}

/** How deep the brackets of a JSON text nest. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (const [bracket] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{\]}]/g)) {
    if (bracket === '[' || bracket === '{') deepest = Math.max(deepest, ++depth)
    else if (bracket === ']' || bracket === '}') depth--
  }
  return deepest
}
