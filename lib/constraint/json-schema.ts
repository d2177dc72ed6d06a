import type { NativeConstraint, Node } from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { choices } from './choices.js'
import { combine } from './combine.js'
import { type BoundIn, type Facets, type Part, unsupported } from './facets.js'
import { formats } from './formats.js'
import { inQuotes, type JsonText } from './json-text.js'
import { type Bound, integers, isWritable, numbers } from './numbers.js'
import { objects } from './objects.js'
import { eachChoice, excludes, generatedTypes, typeOf } from './one-of.js'
import { lengthsOf, search } from './reg-exp.js'
import { isValid, type Pattern, PatternError, parsePattern } from './reg-exp-syntax.js'
import { keyOfAll, SchemaParts } from './schema-parts.js'
import { tooComplex } from './too-complex.js'

const maxDepth = 100
/** How often something is looked at that grows with the square of a schema. */
const maxWork = 2 ** 18

/**
 * The JSON that fits a schema, as far as it is generated: a part of what is valid, never more.
 *
 * @throws OpenELMError INVALID_ARGUMENT for what is not supported, by keyword and place.
 */
export function* jsonSchema(json: JsonText, schema: unknown): Steps<Node> {
  const first = new SchemaCompiler(json, schema, new Set())
  const node = yield* first.compile()
  const barren = new Set(json.regular.barren())
  const keys = [...first.references].filter(([reference]) => barren.has(reference))
  if (keys.length === 0) return node
  const others = new Set(keys.map(([, key]) => key))
  return yield* new SchemaCompiler(json, schema, others).compile()
}

/** Makes nodes of schemas. Each set of schemas that hold together is compiled once. */
export class SchemaCompiler {
  readonly json: JsonText
  readonly regular: NativeConstraint
  /** By the reference, the schemas that hold themselves. */
  readonly references = new Map<Node, string>()
  readonly #schemas: SchemaParts
  readonly #barren: ReadonlySet<string>
  readonly #done = new Map<string, Node>()
  readonly #open = new Map<string, { level: number; reference: Node | undefined }>()
  #level = 0
  #work = 0

  constructor(json: JsonText, schema: unknown, barren: ReadonlySet<string>) {
    this.json = json
    this.regular = json.regular
    this.#schemas = new SchemaParts(schema)
    this.#barren = barren
  }

  compile(): Steps<Node> {
    return this.#node([{ schema: this.#schemas.root, pointer: '#' }])
  }

  /** What fits all of these schemas, inside of something that has begun. */
  *inside(parts: readonly Part[]): Steps<Node> {
    if (++this.#level > maxDepth) throw tooComplex(`nested deeper than ${maxDepth}`)
    const node = yield* this.#node(parts)
    this.#level--
    return node
  }

  /** @throws OpenELMError when all of it together is too much. */
  spend(work: number): void {
    this.#work += work
    if (this.#work > maxWork) throw tooComplex('too many properties or choices')
  }

  *#node(parts: readonly Part[]): Steps<Node> {
    yield ''
    const followed = this.#schemas.followed(parts)
    if (followed.length === 0) return this.json.anyValue()
    const key = keyOfAll(followed)
    const done = this.#barren.has(key) ? this.regular.empty : this.#done.get(key)
    if (done !== undefined) return done
    const open = this.#open.get(key)
    if (open) {
      if (open.level === this.#level) {
        unsupported('$ref', parts[0]?.pointer ?? '#', 'leads back to itself')
      }
      open.reference ??= this.regular.reference()
      this.references.set(open.reference, key)
      return open.reference
    }
    const opened = { level: this.#level, reference: undefined as Node | undefined }
    this.#open.set(key, opened)
    const node = yield* this.#compile(followed)
    this.#open.delete(key)
    if (opened.reference !== undefined) this.regular.define(opened.reference, node)
    this.#done.set(key, node)
    return node
  }

  *#compile(parts: readonly Part[]): Steps<Node> {
    const facets = this.#schemas.facets(parts)
    if (facets.isImpossible) return this.regular.empty
    const [choice] = facets.choices
    if (choice) return yield* this.#choice(parts, choice)
    if (!facets.values) return yield* this.#values(facets)
    const values = facets.values.filter(value => facets.types?.has(typeOf(value)) ?? true)
    if (facets.implied.size === 0) return yield* this.json.literals(values)
    const node = yield* this.#values(facets)
    const isValid = (value: unknown) => this.#accepts(node, JSON.stringify(value))
    return yield* this.json.literals(values.filter(isValid))
  }

  #accepts(node: Node, text: string): boolean {
    return this.regular.accepts(this.regular.read(node, Buffer.from(text)))
  }

  *#choice(parts: readonly Part[], choice: Facets['choices'][number]): Steps<Node> {
    const all = eachChoice(parts, choice)
    if (choice.keyword === 'oneOf') {
      for (const [i, one] of all.entries()) {
        this.spend(all.length)
        for (const [j, other] of all.entries()) {
          yield ''
          if (i === j || excludes(this.#schemas, one, other)) continue
          const why = `is supported only where its schemas exclude each other, as ${i} and ${j} may not`
          unsupported('oneOf', choice.part.pointer, why)
        }
      }
    }
    const nodes: Node[] = []
    for (const alternative of all) nodes.push(yield* this.#node(alternative))
    return this.regular.alt(...nodes)
  }

  *#values(facets: Facets): Steps<Node> {
    const { json, regular } = this
    const types = generatedTypes(facets)
    const nodes: Node[] = []
    for (const type of types) {
      if (type === 'null' || type === 'boolean') nodes.push(json.any(type))
      if (type === 'string') nodes.push(json.quoted(yield* this.#content(facets, false)))
      if (type === 'array') nodes.push(yield* this.#array(facets))
      if (type === 'object') nodes.push(yield* objects(this, facets))
    }
    const { minimum, maximum } = facets
    if (types.has('fraction')) {
      nodes.push(numbers(regular, writable(minimum, 'minimum'), writable(maximum, 'maximum')))
    } else if (types.has('integer')) {
      nodes.push(integers(regular, minimum, maximum))
    }
    return regular.alt(...nodes)
  }

  /** What stands between the quotes of a string. */
  *#content(facets: Facets, isKey: boolean): Steps<Node> {
    const { json, regular } = this
    const { minLength, maxLength } = facets
    const conditions = conditionsOf(facets)
    if (conditions.length === 0) return json.content(minLength, maxLength, isKey)
    let node: Node | undefined
    for (const { pattern, pointer, keyword } of conditions) {
      const found = yield* patternErrors(keyword, pointer, () =>
        search(regular, pattern, json.alphabet),
      )
      node = node === undefined ? found : yield* combine(regular, node, found, (a, b) => a && b)
    }
    const isWithin = ({ pattern }: Condition) => {
      const [min, max] = lengthsOf(pattern)
      return min >= minLength && max <= maxLength
    }
    if (conditions.some(isWithin) || (minLength === 0 && maxLength === Infinity)) return node!
    const lengths = json.content(minLength, maxLength, true)
    return yield* combine(regular, node!, lengths, (a, b) => a && b)
  }

  /** What stands between the quotes of a key that fits these schemas. */
  *keyContent(parts: readonly Part[]): Steps<Node> {
    const facets = this.#schemas.facets(parts)
    const { regular } = this
    if (facets.isImpossible || !(facets.types?.has('string') ?? true)) return regular.empty
    if (facets.choices.length > 0) {
      unsupported(facets.choices[0]!.keyword, parts[0]!.pointer, 'is not supported for keys')
    }
    const content = yield* this.#content(facets, true)
    if (!facets.values) return content
    const texts = facets.values.filter(value => typeof value === 'string').map(inQuotes)
    const fitting = texts.filter(text => this.#accepts(content, text))
    const entries = fitting.map(text => ({ bytes: Buffer.from(text), tail: regular.epsilon }))
    return yield* choices(regular, entries)
  }

  *#array(facets: Facets): Steps<Node> {
    const { json, regular } = this
    const { elements } = facets
    const length = Math.max(0, ...elements.map(({ prefix }) => prefix.length))
    const hasRest = length === 0 || elements.some(({ rest }) => rest) || facets.minItems > length
    const others = elements.flatMap(({ rest }) => rest ?? [])
    const rest = hasRest ? yield* this.inside(others) : regular.empty
    const most = rest === regular.empty ? Math.min(facets.maxItems, length) : facets.maxItems
    const least = Math.max(facets.minItems, Math.min(length, most))
    if (length === 0) return regular.text('[', json.rows(rest, least, most, ']'))
    const numPrefix = Math.min(length, most)
    const more = Math.max(0, least - numPrefix)
    let node = regular.seq(json.moreRows(rest, more, most - numPrefix), regular.text(']'))
    for (let i = numPrefix - 1; i >= 0; i--) {
      const parts = elements.flatMap(({ prefix, rest }) => prefix[i] ?? rest ?? [])
      const element = yield* this.inside(parts)
      const comma = i === 0 ? regular.epsilon : regular.seq(regular.text(','), json.gap)
      node = regular.seq(comma, element, node)
    }
    return regular.text('[', node)
  }
}

function writable(bound: BoundIn | undefined, keyword: string): Bound | undefined {
  if (!bound || isWritable(bound)) return bound
  return unsupported(keyword, bound.pointer, `is not supported with ${bound.value}`)
}

interface Condition {
  readonly pattern: Pattern
  readonly pointer: string
  readonly keyword: 'pattern' | 'format'
}

/** The patterns of a string, with those of its formats; a format that is not known is left to a pattern. */
function conditionsOf(facets: Facets): Condition[] {
  const conditions: Condition[] = []
  for (const { source, pointer } of facets.patterns) {
    const unicode = isValid(source, 'u')
    const pattern = patternErrors('pattern', pointer, () => parsePattern(source, { unicode }))
    conditions.push({ pattern, pointer, keyword: 'pattern' })
  }
  for (const { name, pointer } of facets.formats) {
    const source = Object.hasOwn(formats, name) ? formats[name] : undefined
    if (source !== undefined) {
      conditions.push({ pattern: parsePattern(source), pointer, keyword: 'format' })
    } else if (facets.patterns.length === 0) {
      unsupported('format', pointer, `is not supported with ${JSON.stringify(name)}`)
    }
  }
  return conditions
}

function patternErrors<Result>(keyword: string, pointer: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    return unsupported(keyword, pointer, `is not supported: ${error.message}`)
  }
}
