import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { testBackend } from '../helpers/backend.js'

const invalid = { name: 'OpenELMError', code: 'INVALID_ARGUMENT' }
const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    kind: { enum: ['cat', 'dog'] },
  },
  required: ['name', 'age', 'kind'],
  additionalProperties: false,
}

const model = await OpenELM.load('openelm-nano', { backend: testBackend })
t.teardown(() => model.dispose())

t.test('a schema, greedy and drawn, in every call that generates', async t => {
  using session = model.createSession()
  using chat = model.createChat()
  for (const temperature of [0, 1, 3]) {
    const options = { responseConstraint: schema, temperature, seed: 5, repetitionPenalty: 1.3 }
    const stream = model.stream('A record:', options)
    let streamed = ''
    for await (const { text } of stream) streamed += text
    const results = [
      await model.generate('A record:', options),
      await session.generate('A record:', options),
      await chat.send('A record, please.', options),
    ]
    t.equal(streamed, results[0]!.text, 'a stream gives the same')
    for (const { text, finishReason } of results) {
      const { name, age, kind } = JSON.parse(text)
      t.ok(name.length <= 12 && age >= 0 && age <= 150 && ['cat', 'dog'].includes(kind), text)
      t.equal(finishReason, 'stop')
    }
  }
})

t.test('a regular expression, and nothing before or behind', async t => {
  for (const temperature of [0, 1]) {
    const options = { responseConstraint: /(yes|no), \d{4}-\d\d/, temperature, seed: 1 }
    for (const prompt of ['Well?', [model.config.bosTokenId]]) {
      const { text } = await model.generate(prompt, options)
      t.match(text, /^(yes|no), \d{4}-\d\d$/)
    }
  }
})

t.test('a text that may end but need not ends by the token that the model ends with', async t => {
  const eos = model.tokenizer.eosTokenId
  const options = { responseConstraint: /a{2,}/, logitBias: { [eos]: 100 } }
  const { text, tokens, finishReason } = await model.generate('A:', options)
  t.match(text, /^aa+$/, 'not before it may')
  t.equal(tokens.at(-1), eos)
  t.equal(finishReason, 'stop')
  const cut = await model.generate('A:', { ...options, ignoreEos: true, maxTokens: 5 })
  t.match(cut, { finishReason: 'length', text: /^a+$/ }, 'with ignoreEos it never comes')
})

t.test('a stop token comes where the text is whole', async t => {
  const [stop = 0] = model.tokenizer.encode('b', { addBos: false }).slice(-1)
  const options = { responseConstraint: /a{3}b*/, stopTokens: [stop], logitBias: { [stop]: 100 } }
  const { text, finishReason } = await model.generate('A:', options)
  t.equal(text, 'aaa')
  t.equal(finishReason, 'stop')
})

t.test('log-probabilities are the model’s own', async t => {
  const options = { logprobs: 3, maxTokens: 1 }
  const free = await model.stream('Once upon a', options).next()
  const bound = await model.stream('Once upon a', { ...options, responseConstraint: /\d/ }).next()
  t.match(bound.value, { topLogprobs: (free.value as { topLogprobs: object }).topLogprobs })
})

t.test('sessions with constraints, and without, in the same batches', async t => {
  const free = { maxTokens: 40, temperature: 1, seed: 3 }
  const alone = await model.generate('Once upon a time', free)
  const options = { temperature: 1, seed: 9 }
  const [first, word, second, list] = await Promise.all([
    model.generate('Once upon a time', free),
    model.generate('Well?', { ...options, responseConstraint: /[a-z]{5}/ }),
    model.generate('A record:', { ...options, responseConstraint: schema }),
    model.generate('Numbers:', {
      ...options,
      responseConstraint: { type: 'array', items: { type: 'integer', maximum: 9 }, maxItems: 3 },
    }),
  ])
  t.same(first.tokens, alone.tokens, 'the same bits beside others as alone')
  t.match(word.text, /^[a-z]{5}$/)
  t.ok(JSON.parse(second.text).name !== undefined)
  t.ok(JSON.parse(list.text).every((number: number) => number <= 9))
})

t.test('a generation that is constrained leaves nothing behind', async t => {
  using session = model.createSession()
  using other = model.createSession()
  for (const one of [session, other]) await one.generate('Once upon a time', { maxTokens: 3 })
  session.rewind(2)
  await session.generate('Well?', { responseConstraint: /yes|no/ })
  session.rewind(2)
  other.rewind(2)
  const options = { maxTokens: 20 }
  t.same(
    (await session.generate(' there was', options)).tokens,
    (await other.generate(' there was', options)).tokens,
  )
})

t.test('what is no constraint is refused, at once or when the generation begins', async t => {
  const holdsItself: { self?: object } = {}
  holdsItself.self = holdsItself
  for (const constraint of ['{}', 7, null, [], holdsItself, { const: 1n }]) {
    t.throws(() => model.stream('', { responseConstraint: constraint as object }), invalid)
  }
  for (const [constraint, message] of [
    [{ type: 'string', not: {} }, /has not at #,/],
    [{ properties: { a: { multipleOf: 3 } } }, /has multipleOf at #\/properties\/a,/],
    [{ type: 'number', minimum: 3, maximum: 2 }, /nothing .* fits/],
    [/a(?=b)c/, /look-ahead/],
    [/(a)\1/, /reference to a group/],
  ] as const) {
    const work = model.generate('A', { responseConstraint: constraint })
    await t.rejects(work, { ...invalid, message, argument: 'options.responseConstraint' })
  }
})

t.test('it can be aborted', async t => {
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  await t.rejects(model.generate('A', { responseConstraint: schema, signal }), reason)
  const controller = new AbortController()
  const options = { responseConstraint: schema, signal: controller.signal }
  await t.rejects(async () => {
    for await (const _ of model.stream('A', options)) controller.abort(reason)
  }, reason)
})
