import { runInNewContext } from 'node:vm'
import t from 'tap'
import { OpenELM, OpenELMError } from '../lib/index.js'
import {
  abortSignal,
  arrayOf,
  boolean,
  callback,
  integer,
  number,
  oneOf,
  optional,
  pathOrObject,
  type Rule,
  readOptions,
  string,
  tokenIds,
} from '../lib/options.js'

const rules = {
  maxTokens: optional(integer(1, 100), 16),
  temperature: optional(number({ min: 0 }), 0),
  seed: optional(integer(0)),
  out: string,
}

t.test('options are checked, and their defaults filled in', async t => {
  t.strictSame(readOptions({ out: 'x', seed: undefined }, rules), {
    maxTokens: 16,
    temperature: 0,
    seed: undefined,
    out: 'x',
  })
  t.strictSame(readOptions({ out: 'x', maxTokens: 5, seed: 1 }, rules).maxTokens, 5)
  t.throws(() => readOptions(undefined, rules), {
    message: 'expected options.out to be a string, received undefined',
    argument: 'options.out',
  })
  t.throws(() => readOptions(null, rules), {
    message: 'expected options to be an object, received null',
    argument: 'options',
  })
})

t.test('unknown options are refused, and the nearest known one is named', async t => {
  const rows: [string, string | undefined][] = [
    ['temprature', 'temperature'],
    ['Temperature', 'temperature'],
    ['max_tokens', 'maxTokens'],
    ['maxtoken', 'maxTokens'],
    ['sed', 'seed'],
    ['outt', 'out'],
    ['prompt', undefined],
    ['x', undefined],
    ['toString', undefined],
    ['constructor', undefined],
  ]
  for (const [key, nearest] of rows) {
    const advice = nearest ? `; did you mean ${nearest}?` : ''
    t.throws(() => readOptions({ out: 'x', [key]: undefined }, rules), {
      constructor: OpenELMError,
      code: 'INVALID_ARGUMENT',
      argument: `options.${key}`,
      message: `there is no options.${key}${advice}`,
    })
  }
  const evil = JSON.parse('{ "out": "x", "__proto__": 1 }')
  t.throws(() => readOptions(evil, rules), { message: /^there is no options.__proto__/ })
})

t.test('each option is read once', async t => {
  let reads = 0
  const options = {
    out: 'x',
    get maxTokens() {
      return ++reads
    },
  }
  t.equal(readOptions(options, rules).maxTokens, 1)
})

t.test('rules say what they expect', async t => {
  const rows: [Rule<unknown>, good: unknown[], bad: unknown[], expected: string][] = [
    [integer(1, 5), [1, 5], [0, 6, 1.5, '1', 1n], 'an integer from 1 to 5'],
    [integer(2), [2, Number.MAX_SAFE_INTEGER], [1, 2 ** 53, Infinity], 'an integer from 2 up'],
    [number({ min: 0 }), [0, 1e9], [-1, Infinity, Number.NaN, '1'], 'a finite number from 0 up'],
    [number({ above: 0 }), [1e-9], [0, Infinity], 'a finite number above 0'],
    [number({ above: 0, max: 1 }), [0.1, 1], [0, 1.1], 'a number above 0 and at most 1'],
    [number({ min: 0, below: 1 }), [0, 0.9], [-1, 1], 'a number from 0 to below 1'],
    [oneOf('a', 'b'), ['a', 'b'], ['c', '', null], 'one of a, b'],
    [boolean, [true, false], [0, null], 'true or false'],
    [callback(), [() => {}], ['f', null, {}], 'a function'],
    [pathOrObject, ['x', {}], [null, 5, () => {}], 'a path or an object'],
    [arrayOf(string), [[], ['a']], ['a', null, new Set()], 'an array'],
  ]
  for (const [rule, good, bad, expected] of rows) {
    for (const value of good) t.strictSame(rule('it', value), value)
    for (const value of [...bad, undefined]) {
      const message = new RegExp(`^expected it to be ${expected}, received `)
      t.throws(() => rule('it', value), { code: 'INVALID_ARGUMENT', argument: 'it', message })
    }
  }
  t.throws(() => arrayOf(string)('it', ['a', 5]), { code: 'INVALID_ARGUMENT', argument: 'it[1]' })
  t.throws(() => arrayOf(string)('it', new Array(2)), {
    code: 'INVALID_ARGUMENT',
    argument: 'it[0]',
  })
})

t.test('an array is copied', async t => {
  const given = ['a', 'b']
  const read = arrayOf(string)('it', given)
  given.pop()
  t.strictSame(read, ['a', 'b'])
})

t.test('values of another realm are taken', async t => {
  const read = tokenIds(300)
  const list = runInNewContext('[1, 2]')
  for (const type of ['Int32Array', 'Uint32Array', 'Uint16Array']) {
    t.strictSame(read('tokens', runInNewContext(`${type}.of(1, 2)`)), Int32Array.of(1, 2))
  }
  t.strictSame(read('tokens', list), Int32Array.of(1, 2))
  t.strictSame(arrayOf(integer(0))('it', list), [1, 2])
  t.throws(() => read('tokens', runInNewContext('Float32Array.of(1, 2)')), {
    code: 'INVALID_ARGUMENT',
    argument: 'tokens',
  })
  t.throws(() => read('tokens', Uint32Array.of(1, 300)), {
    code: 'INVALID_ARGUMENT',
    argument: 'tokens[1]',
  })
})

/** A signal as polyfills and test environments make it: no instance of Node's AbortSignal. */
class ForeignSignal extends EventTarget {
  aborted = false
  reason: unknown
  listeners = 0

  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listeners++
    super.addEventListener(...args)
  }

  abort(reason: unknown): void {
    this.aborted = true
    this.reason = reason
    this.dispatchEvent(new Event('abort'))
  }
}

t.test('a signal that is not of this realm aborts as one that is', async t => {
  const foreign = new ForeignSignal()
  const signal = abortSignal('signal', foreign)
  t.ok(signal instanceof AbortSignal)
  t.equal(abortSignal('signal', foreign), signal)
  t.equal(foreign.listeners, 1)
  t.equal(signal.aborted, false)
  foreign.abort('reason')
  t.equal(signal.aborted, true)
  t.equal(signal.reason, 'reason')

  const late = new ForeignSignal()
  late.abort(0)
  t.equal(abortSignal('signal', late).reason, 0)
  const load = OpenELM.load('openelm-nano', { signal: late as unknown as AbortSignal })
  t.equal(await load.catch(error => error), 0)
})

t.test('a misspelt option of load is refused', async t => {
  await t.rejects(OpenELM.load('openelm-nano', { dtyp: 'q8' } as object), {
    code: 'INVALID_ARGUMENT',
    message: 'there is no options.dtyp; did you mean dtype?',
  })
})
