import { join } from 'node:path'
import t from 'tap'
import { describe, OpenELMError } from '../lib/errors.js'
import { OpenELM } from '../lib/index.js'
import { volume } from './helpers/backend.js'
import { writeTinyModel } from './helpers/tiny-model.js'

/** An argument, what its description says it must be, values that it must not be, and a call with one. */
type Row = [
  name: string,
  expected: string,
  values: readonly unknown[],
  call: (value: never) => unknown,
]

const tiny = writeTinyModel(t.testdir())
const model = await OpenELM.load(tiny)
const session = model.createSession()
const { tokenizer } = model
t.teardown(() => model.dispose())

const numbers = [0, 1.5, Number.NaN]
const objects = [null, {}, [], () => {}]
const notNumbers = ['1', true, 1n, ...objects]
const notIntegers = [1.5, -1, Number.NaN, Infinity, ...notNumbers]
const notObjects = [5, 'text', true, null]
const notStrings = [undefined, true, ...numbers, ...objects]
const notArrays = [5, 'text', true, null, {}, new Set([5]), new Float32Array(2)]
const notTokens = [undefined, -1, 300, '5', ...numbers.slice(1), ...objects]
const texts = 'a string, or an array of texts and token ids'
const notTexts = notArrays.filter(x => x !== 'text')
const token = 'an integer from 0 to 299'
const tokens = 'an array or an Int32Array of token ids'

function load(option: string, expected: string, values: readonly unknown[]): Row {
  return [`options.${option}`, expected, values, value => OpenELM.load(tiny, { [option]: value })]
}

/** Both functions that generate. */
function generate(option: string, expected: string, values: readonly unknown[]): Row[] {
  const name = `options.${option}`
  return [
    [name, expected, values, value => model.generate([5], { [option]: value })],
    [name, expected, values, value => model.stream([5], { [option]: value }).next()],
  ]
}

/** Every way to be no list of tokens. */
function tokenRows(name: string, kinds: string, call: (value: never) => unknown): Row[] {
  const notLists = kinds.startsWith('a string') ? notArrays.filter(x => x !== 'text') : notArrays
  return [
    [name, kinds, [...notLists, undefined], call],
    [`${name}[1]`, token, notTokens, value => call([5, value, 6] as never)],
    [`${name}[0]`, token, [-1, 300], value => call(Int32Array.of(value) as never)],
  ]
}

const promptKinds = 'a string, or an array or an Int32Array of token ids'
const oneToken = (name: string, call: (value: never) => unknown): Row => {
  return [name, 'at least 1 token', [[], new Int32Array(0)], call]
}

const rows: Record<string, Row[]> = {
  load: [
    ['source', 'a string', notStrings, value => OpenELM.load(value)],
    ['options', 'an object', notObjects, value => OpenELM.load(tiny, value)],
    load('backend', 'one of auto, cpu, cuda, metal', ['gpu', '', 5, null]),
    load('deviceIndex', 'an integer from 0 to 255', [256, ...notIntegers]),
    load('dtype', 'one of auto, float32, float16, bfloat16, q8, q4', ['int8', 'F32', 32, null]),
    load('contextLength', 'an integer from 1 to 1048576', [0, 2 ** 20 + 1, ...notIntegers]),
    load('threads', 'an integer from 1 to 1024', [0, 1025, ...notIntegers]),
    load('kvCacheDtype', 'one of auto, float32, float16', ['bfloat16', 'F16', 16, null]),
    load('tokenizer', 'a path or an object', [5, true, null, () => {}]),
    load('mmap', 'true or false', [0, 'true', null]),
    load('signal', 'an AbortSignal', [new AbortController(), new EventTarget(), ...notObjects]),
    load('onProgress', 'a function', ['log', 5, null, {}]),
  ],
  'generate and stream': [
    ...tokenRows('prompt', promptKinds, value => model.generate(value)),
    ...tokenRows('prompt', promptKinds, value => model.stream(value).next()),
    oneToken('prompt', value => model.generate(value)),
    ['options', 'an object', notObjects, value => model.generate([5], value)],
    ['options', 'an object', notObjects, value => model.stream([5], value).next()],
    ...generate('maxTokens', 'an integer from 1 to 2147483647', [0, 2 ** 31, ...notIntegers]),
    ...generate('temperature', 'a finite number from 0 up', [-1, Infinity, ...notNumbers]),
    ...generate('topK', 'an integer from 0 up', notIntegers),
    ...generate('topP', 'a number above 0 and at most 1', [0, -1, 1.01, Number.NaN, ...notNumbers]),
    ...generate('minP', 'a number from 0 to below 1', [-1, 1, Number.NaN, ...notNumbers]),
    ...generate('repetitionPenalty', 'a finite number above 0', [0, -1, Infinity, ...notNumbers]),
    ...generate('repetitionContextSize', 'an integer from 0 up', notIntegers),
    ...generate('seed', 'an integer from 0 to 2^53 - 1, or a bigint to 2^64 - 1', [
      2 ** 53,
      -1n,
      2n ** 64n,
      ...notIntegers.filter(value => typeof value !== 'bigint'),
    ]),
    ...generate('logprobs', 'an integer from 0 to 20', [21, ...notIntegers]),
    ...generate('stopSequences', 'an array', ['stop', 5, null, {}]),
    ...generate('ignoreEos', 'true or false', [0, 'false', null]),
    ...generate('signal', 'an AbortSignal', [new AbortController(), ...notObjects]),
    [
      'options.stopSequences[1]',
      'a string that is not empty',
      ['', ...notStrings],
      value => model.generate([5], { stopSequences: ['stop', value] }),
    ],
    [
      'options.stopSequences[0]',
      'a string that is not empty',
      [undefined],
      () => model.generate([5], { stopSequences: new Array(2) }),
    ],
  ],
  logits: [
    ...tokenRows('tokens', tokens, value => model.logits(value)),
    oneToken('tokens', value => model.logits(value)),
  ],
  score: [
    ...tokenRows('context', promptKinds, value => model.score(value, [5])),
    ...tokenRows('continuation', promptKinds, value => model.score([5], value)),
    ...tokenRows('continuation', promptKinds, value => model.score('text', value)),
    oneToken('context', value => model.score(value, [5])),
  ],
  sessions: [
    ['options', 'an object', notObjects, value => model.createSession(value)],
    [
      'options.contextLength',
      'an integer from 1 to 1048576',
      [0, 2 ** 20 + 1, ...notIntegers],
      contextLength => model.createSession({ contextLength }),
    ],
    ...tokenRows('tokens', tokens, value => session.append(value)),
    oneToken('tokens', value => session.append(value)),
    [
      'position',
      'an integer from 0 to 0',
      [undefined, 1, ...notIntegers],
      value => session.rewind(value),
    ],
  ],
  tokenizer: [
    ['text', texts, notTexts, value => tokenizer.encode(value)],
    ['text', texts, notTexts, value => tokenizer.encodeAsync(value)],
    ['text[1]', token, notTokens.filter(x => x !== '5'), value => tokenizer.encode(['a', value])],
    ['options', 'an object', notObjects, value => tokenizer.encode('text', value)],
    ['options', 'an object', notObjects, value => tokenizer.encodeAsync('text', value)],
    [
      'options.addBos',
      'true or false',
      [0, 'true', null],
      addBos => tokenizer.encode('text', { addBos }),
    ],
    ['tokens', 'an array or an Int32Array', notArrays, value => tokenizer.decode(value)],
    ['token', token, notTokens, value => tokenizer.decode([value])],
    ['token', token, notTokens, value => tokenizer.stream().push(value)],
    ['options', 'an object', notObjects, value => tokenizer.decode([5], value)],
    ['options', 'an object', notObjects, value => tokenizer.stream(value)],
    [
      'options.continuation',
      'true or false',
      [0, 'true', null],
      continuation => tokenizer.stream({ continuation }),
    ],
  ],
}

for (const [name, table] of Object.entries(rows)) {
  t.test(`${name}: wrong arguments are named, with what was expected and what came`, async t => {
    for (const [name, expected, values, call] of table) {
      for (const value of values) {
        const message = `expected ${name} to be ${expected}, received ${describe(value)}`
        const error = await Promise.resolve(value as never)
          .then(call)
          .then(
            () => 'no error',
            error => error,
          )
        t.match(error, { constructor: OpenELMError, code: 'INVALID_ARGUMENT', message }, message)
      }
    }
  })
}

t.test('undefined is the default', async t => {
  const names = ['maxTokens', 'temperature', 'topK', 'topP', 'minP', 'seed', 'logprobs', 'signal']
  const options = Object.fromEntries(names.map(name => [name, undefined]))
  const prompt = Array(volume(1, 250)).fill(5) // up to 256, the context
  const { tokens } = await model.generate(prompt, options)
  t.same((await model.generate(prompt)).tokens, tokens)
  t.same((await model.generate(prompt, undefined)).tokens, tokens)
  await using other = await OpenELM.load(tiny, { dtype: undefined, tokenizer: undefined } as object)
  t.equal(other.dtype, 'float32')
})

t.test('a call that fails leaves nothing behind', async t => {
  session.dispose()
  t.equal(model.memory.kvCache, 0)
})

t.test('too many tokens are too many, however many', async t => {
  const many = new Array(2 ** 18).fill(5)
  const overflow = { code: 'CONTEXT_OVERFLOW' }
  await t.rejects(model.generate(many), overflow)
  await t.rejects(model.logits(many), overflow)
  await t.rejects(model.score(many, many), overflow)
  await t.rejects(model.score('x'.repeat(2 ** 18), 'y'), overflow)
  using session = model.createSession()
  await t.rejects(session.append(many), overflow)
  t.equal(session.position, 0)
})

t.test('what onProgress throws ends the load', async t => {
  const error = new Error('of the caller')
  const onProgress = () => {
    throw error
  }
  t.equal(await OpenELM.load(tiny, { onProgress }).catch(error => error), error)
  const { signal } = new AbortController()
  t.equal(await OpenELM.load(tiny, { onProgress, signal }).catch(error => error), error)
})

t.test('a source that is no model is named', async t => {
  for (const source of ['', '.', join(tiny, 'absent'), join(tiny, 'config.json'), '\0', 'a\0b']) {
    const error = await OpenELM.load(source).catch(error => error)
    t.ok(error instanceof OpenELMError, source)
    t.notOk(error.code === 'INTERNAL')
  }
})
