import { invalidArgument, OpenELMError } from './errors.js'

/**
 * What an argument must be: returns the value under this name as the callee uses it, or throws
 * INVALID_ARGUMENT. Rules of options that may be left out are made by {@link optional}.
 */
export type Rule<Value> = (name: string, value: unknown) => Value

/** A rule for each option of a function. `satisfies RulesOf<Options>` holds it against their type. */
export type RulesOf<Options> = { readonly [Name in keyof Options]-?: Rule<Options[Name]> }

/** What {@link readOptions} makes of options: checked, and with their defaults. */
export type ValuesOf<Rules extends RulesOf<object>> = {
  readonly [Name in keyof Rules]: Rules[Name] extends Rule<infer Value> ? Value : never
}

/**
 * Checks the options that a caller gave to a public function and fills in their defaults. Each is read
 * once; options that no rule knows are refused.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readOptions<Rules extends Readonly<Record<string, Rule<unknown>>>>(
  given: unknown,
  rules: Rules,
  name = 'options',
): ValuesOf<Rules> {
  const options = given === undefined ? {} : object(name, given)
  const unknown = Object.keys(options).find(key => !Object.hasOwn(rules, key))
  if (unknown !== undefined) throw unknownOption(name, unknown, Object.keys(rules))
  const read = ([key, rule]: [string, Rule<unknown>]) => {
    return [key, rule(`${name}.${key}`, options[key])] as const
  }
  return Object.fromEntries(Object.entries(rules).map(read)) as ValuesOf<Rules>
}

function unknownOption(name: string, unknown: string, known: readonly string[]): OpenELMError {
  const nearest = nearestTo(unknown, known)
  const advice = nearest === undefined ? '' : `; did you mean ${nearest}?`
  const argument = `${name}.${unknown}`
  return new OpenELMError('INVALID_ARGUMENT', `there is no ${argument}${advice}`, { argument })
}

/** The name that was probably meant: at most every third character of it is another. */
function nearestTo(word: string, names: readonly string[]): string | undefined {
  const lower = word.toLowerCase()
  const distances = names.map(name => ({ name, edits: editDistance(lower, name.toLowerCase()) }))
  const [best] = distances.toSorted((a, b) => a.edits - b.edits)
  return best && best.edits <= Math.max(1, best.name.length / 3) ? best.name : undefined
}

/** How many characters must be put in, taken away or replaced to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, character] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const replaced = row[j]! + (b[j] === character ? 0 : 1)
      next.push(Math.min(replaced, row[j + 1]! + 1, next[j]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/** An option that may be left out, or be undefined; `fallback` then stands for it. */
export function optional<Value>(rule: Rule<Value>): Rule<Value | undefined>
export function optional<Value, Fallback>(
  rule: Rule<Value>,
  fallback: Fallback,
): Rule<Value | Fallback>
export function optional<Value>(rule: Rule<Value>, fallback?: unknown): Rule<unknown> {
  return (name, value) => (value === undefined ? fallback : rule(name, value))
}

/** A rule that takes the values that `accepts` accepts, as they are. */
export function rule<Value>(
  expected: string,
  accepts: (value: unknown) => value is Value,
): Rule<Value> {
  return (name, value) => {
    if (accepts(value)) return value
    throw invalidArgument(name, expected, value)
  }
}

export const object = rule('an object', isObject)

export const boolean = rule('true or false', value => typeof value === 'boolean')

export const string = rule('a string', value => typeof value === 'string')

export const path = rule('a path', value => typeof value === 'string')

export const pathOrObject = rule(
  'a path or an object',
  (value): value is string | object => typeof value === 'string' || isObject(value),
)

/** An integer from `min` to `max`, both included. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Rule<number> {
  const end = max === Number.MAX_SAFE_INTEGER ? 'up' : `to ${max}`
  return rule(
    `an integer from ${min} ${end}`,
    (value): value is number =>
      isNumber(value) && Number.isInteger(value) && value >= min && value <= max,
  )
}

/** A finite number: from `min` or above `above`, and at most `max` or below `below` where they are given. */
export function number(
  range: ({ min: number } | { above: number }) & { max?: number; below?: number },
): Rule<number> {
  const { min, above, max, below } = { min: undefined, above: undefined, ...range }
  const end =
    max !== undefined ? ` and at most ${max}` : below !== undefined ? ` to below ${below}` : ''
  const begin = above !== undefined ? `above ${above}` : `from ${min}${end === '' ? ' up' : ''}`
  return rule(
    `a ${end === '' ? 'finite ' : ''}number ${begin}${end}`,
    (value): value is number =>
      isNumber(value) &&
      Number.isFinite(value) &&
      (above !== undefined ? value > above : value >= min!) &&
      (max === undefined || value <= max) &&
      (below === undefined || value < below),
  )
}

export function oneOf<Choice extends string>(...choices: readonly Choice[]): Rule<Choice> {
  return rule(`one of ${choices.join(', ')}`, (value): value is Choice =>
    choices.some(choice => choice === value),
  )
}

/** A copy of an array whose elements follow a rule. Holes of it are read as undefined. */
export function arrayOf<Value>(element: Rule<Value>, expected = 'an array'): Rule<Value[]> {
  return (name, value) => {
    if (!Array.isArray(value)) throw invalidArgument(name, expected, value)
    return Array.from(value, (part: unknown, i) => element(`${name}[${i}]`, part))
  }
}

/** A function. What it takes and returns is a matter of types. */
export function callback<Fn extends (...args: never[]) => unknown>(): Rule<Fn> {
  return rule('a function', (value): value is Fn => typeof value === 'function')
}

/**
 * An AbortSignal, also one of another realm (a test environment, a `vm` context) or of a polyfill. One
 * of Node's own stands for that.
 */
export const abortSignal: Rule<AbortSignal> = (name, value) => {
  if (value instanceof AbortSignal) return value
  if (isForeignSignal(value)) return adopt(value)
  throw invalidArgument(name, 'an AbortSignal', value)
}

type ForeignSignal = Pick<AbortSignal, 'aborted' | 'reason' | 'addEventListener'>

function isForeignSignal(value: unknown): value is ForeignSignal {
  return (
    isObject(value) &&
    typeof value.aborted === 'boolean' &&
    typeof value.addEventListener === 'function'
  )
}

const adopted = new WeakMap<ForeignSignal, AbortSignal>()

/** One listener for each foreign signal, however many calls it is given to. */
function adopt(foreign: ForeignSignal): AbortSignal {
  const known = adopted.get(foreign)
  if (known !== undefined) return known
  const controller = new AbortController()
  const abort = () => controller.abort(foreign.reason)
  if (foreign.aborted) abort()
  else foreign.addEventListener('abort', abort)
  adopted.set(foreign, controller.signal)
  return controller.signal
}

/** Token ids as native code takes them: at least `min` of them, each in the vocabulary. */
export function tokenIds(
  vocabSize: number,
  { min = 1, expected = 'an array or an Int32Array of token ids' } = {},
): Rule<Int32Array> {
  const token = integer(0, vocabSize - 1)
  return (name, value) => {
    if (!isArrayOfIntegers(value)) throw invalidArgument(name, expected, value)
    if (value.length < min) throw invalidArgument(name, `at least ${min} token`, value)
    return Int32Array.from<unknown>(value, (id, i) => token(`${name}[${i}]`, id))
  }
}

/** Also of another realm, of which no array is an instance of this one's classes. */
export function isArrayOfIntegers(value: unknown): value is ArrayLike<unknown> {
  const types = ['Int32Array', 'Uint32Array', 'Uint16Array']
  return Array.isArray(value) || types.includes(Object.prototype.toString.call(value).slice(8, -1))
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number'
}
