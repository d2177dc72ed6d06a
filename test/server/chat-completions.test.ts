import { join } from 'node:path'
import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { startServer } from '../helpers/server.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const { model, ask, events, post, refusal } = await startServer(t)
const path = '/v1/chat/completions'
const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Who was Emma?' },
] as const

t.test('an answer is what the model answers', async t => {
  const expected = await model.generate(messages, { maxTokens: 12 })
  const answer = await ask(path, { messages, max_tokens: 12, temperature: 0 })
  t.match(answer, {
    id: /^chatcmpl-/,
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: expected.text, refusal: null },
        logprobs: null,
        finish_reason: expected.finishReason,
      },
    ],
    usage: { prompt_tokens: expected.usage.promptTokens },
  })
  const developer = [{ ...messages[0], role: 'developer' }, messages[1]]
  const newer = { messages: developer, max_completion_tokens: 12, temperature: 0 }
  t.same((await ask(path, newer)).choices, answer.choices)
  const parts = messages.map(({ role, content }) => ({
    role,
    content: [{ type: 'text', text: content }],
  }))
  t.same(
    (await ask(path, { messages: parts, max_tokens: 12, temperature: 0 })).choices,
    answer.choices,
  )
})

t.test('a stream begins with the role and ends with the reason', async t => {
  const request = { messages, max_tokens: 12, temperature: 0 }
  const { choices, usage } = await ask(path, request)
  const pieces = await events(path, { ...request, stream_options: { include_usage: true } })
  t.ok(pieces.every(({ object }) => object === 'chat.completion.chunk'))
  t.match(pieces.pop(), { choices: [], usage: { ...usage, prompt_tokens_details: Object } })
  t.same(pieces[0].choices[0].delta, { role: 'assistant', content: '' })
  t.same(pieces.at(-1).choices[0], {
    index: 0,
    delta: {},
    logprobs: null,
    finish_reason: choices[0].finish_reason,
  })
  const text = pieces.map(({ choices: [{ delta }] }) => delta.content ?? '').join('')
  t.equal(text, choices[0].message.content)
})

t.test('without a limit an answer ends where the context does', async t => {
  const { usage, choices } = await ask(path, { messages, temperature: 0, ignore_eos: true })
  t.equal(usage.total_tokens, model.contextLength + 1)
  t.equal(choices[0].finish_reason, 'length')
})

t.test('log-probabilities of tokens, with their bytes', async t => {
  const request = { messages, max_tokens: 8, temperature: 0, logprobs: true, top_logprobs: 2 }
  const [{ message, logprobs }] = (await ask(path, request)).choices
  const bytes = logprobs.content.flatMap(({ bytes }: { bytes: number[] }) => bytes)
  t.equal(Buffer.from(bytes).toString(), message.content)
  for (const { token, logprob, top_logprobs } of logprobs.content) {
    t.equal(top_logprobs.length, 2)
    t.match(top_logprobs[0], { token, logprob })
  }
  const none = await ask(path, { ...request, top_logprobs: 0 })
  t.same(none.choices[0].logprobs.content[0].top_logprobs, [])
  const streamed = await events(path, request)
  t.same(
    streamed.flatMap(({ choices: [choice] }) => choice.logprobs?.content ?? []),
    logprobs.content,
  )
})

t.test('bytes that are part of a character have the names of the vocabulary', async t => {
  const bytes = await OpenELM.load(writeTinyModel(join(t.testdir(), 'tiny')))
  const { ask } = await startServer(t, {}, bytes)
  const request = { messages, max_tokens: 8, temperature: 1, logprobs: true }
  // Three control tokens, then the bytes; those from 0x80 on are no characters of their own.
  const others = Array.from({ length: bytes.config.vocabSize }, (_, id) => id).filter(
    id => id < 131 || id > 258,
  )
  const highOnly = Object.fromEntries(others.map(id => [id, -100]))
  const { choices } = await ask(path, { ...request, logit_bias: highOnly })
  for (const { token, bytes } of choices[0].logprobs.content) {
    t.equal(token, `<0x${bytes[0].toString(16).toUpperCase()}>`)
  }
})

t.test('an answer fits a JSON schema', async t => {
  const schema = {
    type: 'object',
    properties: { name: { enum: ['Emma', 'Anne'] }, isHandsome: { type: 'boolean' } },
    required: ['name', 'isHandsome'],
    additionalProperties: false,
  }
  const response_format = { type: 'json_schema', json_schema: { name: 'person', schema } }
  const request = { messages, temperature: 1, seed: 2, max_tokens: 60 }
  const { choices } = await ask(path, { ...request, response_format, n: 2 })
  for (const { message, finish_reason } of choices) {
    const { name, isHandsome } = JSON.parse(message.content)
    t.ok(['Emma', 'Anne'].includes(name))
    t.type(isHandsome, 'boolean')
    t.equal(finish_reason, 'stop')
  }
  const object = await ask(path, { ...request, response_format: { type: 'json_object' } })
  t.match(object.choices[0].message.content, /^ ?{/)

  const unknown = { type: 'json_schema', json_schema: { schema: { not: {} } } }
  for (const stream of [false, true]) {
    t.same(
      await refusal(path, { ...request, stream, response_format: unknown }),
      [400, 'invalid_value', 'response_format'],
      'also before a stream has begun',
    )
  }
})

t.test('what is wrong is named', async t => {
  const user = [{ role: 'user', content: 'a' }]
  const invalid = (param: string) => [400, 'invalid_value', param]
  const unsupported = (param: string) => [400, 'unsupported_parameter', param]
  const wrong: [object, unknown[]][] = [
    [{}, invalid('messages')],
    [{ messages: [] }, invalid('messages')],
    [{ messages: 'a' }, invalid('messages')],
    [{ messages: ['a'] }, invalid('messages[0]')],
    [{ messages: [1, 2] }, invalid('messages[0]')],
    [{ messages: [{ role: 'tool', content: 'a' }] }, invalid('messages[0].role')],
    [{ messages: [{ role: 'user', content: null }] }, invalid('messages[0].content')],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      invalid('messages[0].content[0].type'),
    ],
    [{ messages: user, max_tokens: 0 }, invalid('max_tokens')],
    [{ messages: user, top_logprobs: 21 }, invalid('top_logprobs')],
    [{ messages: user, response_format: { type: 'grammar' } }, unsupported('response_format')],
    [
      { messages: user, response_format: { type: 'json_schema' } },
      invalid('response_format.json_schema'),
    ],
    [{ messages: user, tools: [{}] }, unsupported('tools')],
    [
      { messages: [{ role: 'user', content: 'a '.repeat(600) }] },
      [400, 'context_length_exceeded', null],
    ],
  ]
  for (const [body, expected] of wrong) t.same(await refusal(path, body), expected)
  const neutral = { tools: [], tool_choice: 'none', response_format: { type: 'text' }, stop: null }
  t.equal((await post(path, { messages: user, max_tokens: 1, ...neutral })).status, 200)
})
