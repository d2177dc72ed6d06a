import { join } from 'node:path'
import t from 'tap'
import { describe, OpenELMError } from '../lib/errors.js'
import { OpenELM, perplexity } from '../lib/index.js'
import { average, train, trainTokenizer } from '../lib/train/index.js'
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

const promptKinds = 'a string, an array or an Int32Array of token ids, or an array of messages'
const continuationKinds = 'a string, or an array or an Int32Array of token ids'
const oneToken = (name: string, call: (value: never) => unknown): Row => {
  return [name, 'at least 1 token', [[], new Int32Array(0)], call]
}

/** What `train` cannot do without. */
const trainOptions = { config: model.config, tokenizer: {}, data: [], out: 'run' }

function training(option: string, expected: string, values: readonly unknown[]): Row {
  const call = (value: never) => train({ ...trainOptions, [option]: value }).next()
  return [`options.${option}`, expected, values, call]
}

function measuring(option: string, expected: string, values: readonly unknown[]): Row {
  const call = (value: never) => perplexity(model, 'text', { [option]: value })
  return [`options.${option}`, expected, values, call]
}

const notSignals = [new AbortController(), new EventTarget(), ...notObjects]
const notFunctions = ['log', 5, null, {}]
const { modelDim, ...noWidth } = model.config
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
    ...generate('presencePenalty', 'a number from -2 and at most 2', [-2.5, 3, ...notNumbers]),
    ...generate('frequencyPenalty', 'a number from -2 and at most 2', [-2.5, 3, ...notNumbers]),
    ...generate('logitBias', 'an object', notObjects),
    ...generate('stopTokens', tokens, notArrays),
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
    ...tokenRows('continuation', continuationKinds, value => model.score([5], value)),
    ...tokenRows('continuation', continuationKinds, value => model.score('text', value)),
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
    ...tokenRows('tokens', tokens, value => session.scores(value)),
    ...tokenRows('prompt', promptKinds, value => session.generate(value)),
    ...tokenRows('prompt', promptKinds, value => session.stream(value)),
    ...tokenRows('continuation', continuationKinds, value => session.score(value)),
    ['options', 'an object', notObjects, value => session.append([5], value)],
    ['options', 'an object', notObjects, value => session.generate([5], value)],
    ['options', 'an object', notObjects, value => session.stream([5], value)],
    ['options', 'an object', notObjects, value => session.scores([5], value)],
    oneToken('prompt', value => session.generate(value)),
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
  perplexity: [
    ['model', 'an OpenELM', [undefined, {}, tiny, OpenELM], v => perplexity(v, 'text')],
    ['text', 'a text of at least one character', ['', ...notStrings], v => perplexity(model, v)],
    ['options', 'an object', notObjects, v => perplexity(model, 'text', v)],
    measuring('contextLength', 'an integer from 2 to 256', [1, 257, ...notIntegers]),
    measuring('stride', 'an integer from 1 up', [0, ...notIntegers]),
    measuring('stride', 'an integer from 1 to 255', [256]),
    measuring('signal', 'an AbortSignal', notSignals),
    measuring('onProgress', 'a function', notFunctions),
  ],
  average: [
    ['sources', 'an array', ['dir', null, {}, undefined], v => average(v, 'out')],
    ['sources', 'a list of at least one', [[]], v => average(v, 'out')],
    ['sources[1]', 'a path', notStrings, v => average([tiny, v], 'out')],
    ['out', 'a path', notStrings, v => average([tiny], v)],
    ['options', 'an object', notObjects, v => average([tiny], 'out', v)],
    [
      'options.dtype',
      'one of float32, bfloat16',
      ['q8', 5, null],
      dtype => average([tiny], 'out', { dtype }),
    ],
    ['options.signal', 'an AbortSignal', notSignals, signal => average([tiny], 'out', { signal })],
    [
      'options.onProgress',
      'a function',
      notFunctions,
      onProgress => average([tiny], 'out', { onProgress }),
    ],
  ],
  trainTokenizer: [
    [
      'vocabSize',
      'an integer from 259 to 1048576',
      [258, 2 ** 21, ...notIntegers],
      v => trainTokenizer(['text'], v),
    ],
    ['documents', 'texts', ['text', 5, null, {}], v => trainTokenizer(v, 300)],
    ['options', 'an object', notObjects, v => trainTokenizer(['text'], 300, v)],
    [
      'options.signal',
      'an AbortSignal',
      notSignals,
      signal => trainTokenizer(['text'], 300, { signal }),
    ],
    [
      'options.onProgress',
      'a function',
      notFunctions,
      onProgress => trainTokenizer(['text'], 300, { onProgress }),
    ],
  ],
  train: [
    ['options', 'an object', notObjects, value => train(value).next()],
    training('config', 'an OpenELMConfig, as parseConfig returns it', [
      undefined,
      'config.json',
      ...objects,
      noWidth,
      { ...model.config, numQueryHeads: undefined },
      { ...model.config, numQueryHeads: [] },
      { ...model.config, ffnDims: model.config.ffnDims.map(dim => dim + 1) },
      { ...model.config, modelDim: 1.5 },
    ]),
    training('tokenizer', 'a path or an object', [5, null, () => {}]),
    training('data', 'an array', [undefined, 'file', null]),
    training('validation', 'an array', ['file', null]),
    training('out', 'a path', notStrings),
    training('resume', 'true or false', [0, 'true', null]),
    training('packing', 'true or false', [0, 'true', null]),
    training('recompute', 'true or false', [0, 'true', null]),
    training('seed', 'an integer from 0 to 4294967295', [2 ** 32, ...notIntegers]),
    training('threads', 'an integer from 1 to 1024', [0, 1025, ...notIntegers]),
    training('maxLearningRate', 'a finite number above 0', [0, -1, Infinity, ...notNumbers]),
    training('minLearningRate', 'a finite number from 0 up', [-1, Infinity, ...notNumbers]),
    training('warmupLearningRate', 'a finite number from 0 up', [-1, ...notNumbers]),
    training('weightDecay', 'a finite number from 0 up', [-1, ...notNumbers]),
    training('zLoss', 'a finite number from 0 up', [-1, ...notNumbers]),
    training('maxGradNorm', 'a finite number above 0', [0, ...notNumbers]),
    training('eps', 'a finite number above 0', [0, ...notNumbers]),
    training('beta1', 'a number from 0 to below 1', [-1, 1, ...notNumbers]),
    training('beta2', 'a number from 0 to below 1', [-1, 1, ...notNumbers]),
    training('signal', 'an AbortSignal', notSignals),
    ...['steps', 'batchSize', 'microBatchSize', 'sequenceLength', 'wordsPerPiece'].map(name =>
      training(name, 'an integer from 1 up', [0, ...notIntegers]),
    ),
    ...['checkpointSteps', 'keepCheckpoints', 'validationSteps'].map(name =>
      training(name, 'an integer from 1 up', [0, ...notIntegers]),
    ),
    ...['minCharacters', 'minTokens', 'warmupSteps'].map(name =>
      training(name, 'an integer from 0 up', notIntegers),
    ),
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

t.test('unknown options are refused, and the nearest known one is named', async t => {
  const calls: [string, () => unknown, nearest?: string][] = [
    ['strid', () => perplexity(model, 'text', { strid: 5 } as object), 'stride'],
    ['type', () => average([tiny], 'out', { type: 'float32' } as object), 'dtype'],
    ['progress', () => trainTokenizer(['text'], 300, { progress: 5 } as object)],
    ['batchsize', () => train({ ...trainOptions, batchsize: 5 } as never).next(), 'batchSize'],
    ['dtyp', () => OpenELM.load(tiny, { dtyp: 'q8' } as object), 'dtype'],
    ['context', () => model.createSession({ context: 5 } as object)],
  ]
  for (const [name, call, nearest] of calls) {
    const error = await Promise.resolve()
      .then(call)
      .catch(error => error)
    const message = `there is no options.${name}${nearest ? `; did you mean ${nearest}?` : ''}`
    t.match(error, { constructor: OpenELMError, code: 'INVALID_ARGUMENT', message })
  }
})

t.test('undefined is the default', async t => {
  const names = ['maxTokens', 'temperature', 'topK', 'topP', 'minP', 'seed', 'logprobs', 'signal']
  const options = Object.fromEntries(names.map(name => [name, undefined]))
  const prompt = Array(volume(1, 250)).fill(5) // up to 256, the context
  const { tokens } = await model.generate(prompt, options)
  t.same((await model.generate(prompt)).tokens, tokens)
  t.same((await model.generate(prompt, undefined)).tokens, tokens)
  await using other = await OpenELM.load(tiny, { dtype: undefined, tokenizer: undefined })
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
