import t from 'tap'
import { CachedSequence } from '../../lib/cached-sequence.js'
import { Chat, type ChatOptions } from '../../lib/chat/chat.js'
import { jinjaTemplate } from '../../lib/chat/jinja-template.js'
import { noTemplate, zephyr } from '../../lib/chat/template.js'
import { type Message, OpenELM } from '../../lib/index.js'
import { PromptEncoder } from '../../lib/prompt.js'
import { Session } from '../../lib/session.js'
import { testBackend, volume } from '../helpers/backend.js'

const model = await OpenELM.load('openelm-nano', { backend: testBackend })
t.teardown(() => model.dispose())
const { tokenizer } = model
const maxTokens = volume(12, 5)
const answered = { maxTokens, ignoreEos: true }
const [bos, eos] = [tokenizer.bosTokenId, tokenizer.eosTokenId]
const encode = (text: string) => tokenizer.encode(text, { addBos: false })
const turn = (text: string) => [...encode(text), eos, ...encode('\n<|assistant|>\n')]
const invalid = { code: 'INVALID_ARGUMENT' }
const system: Message = { role: 'system', content: 'Be brief.' }

/** A chat, and how many tokens each of its passes has taken. */
function watchedChat(options: ChatOptions = {}, chatTemplate = zephyr, given = tokenizer) {
  const passes: number[] = []
  const { native } = model.createSession()
  const session = new Proxy(native, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: [Int32Array]) => {
        if (name === 'sample' || name === 'logits') passes.push(args[0].length)
        return value.apply(target, args)
      }
    },
  })
  const parts = { tokenizer: given, chatTemplate }
  const prompts = new PromptEncoder(model.config, tokenizer.eosTokenIds, parts)
  const messages = [...(options.messages ?? [])] as never
  const truncate = options.truncate ?? 'oldest'
  return {
    chat: new Chat(new Session(new CachedSequence(session), prompts), prompts, {
      messages,
      truncate,
    }),
    passes,
  }
}

t.test('a turn costs only its new tokens', async t => {
  const { chat, passes } = watchedChat()
  const first = await chat.send('Who are you?', answered)
  const prompt = [bos, ...encode('<|system|>\n'), eos, ...turn('\n<|user|>\nWho are you?')]
  t.equal(passes[0], prompt.length)
  t.same(first.tokens, (await model.generate(prompt, answered)).tokens)
  t.ok(passes.slice(1).every(length => length === 1))
  t.equal(chat.contextUsage, prompt.length + maxTokens)

  for (const content of ['And he?', 'And then?']) {
    const before = chat.contextUsage
    const added = [eos, ...turn(`\n<|user|>\n${content}`)].length
    t.equal(await chat.measure(content), added)
    passes.length = 0
    const { usage } = await chat.send(content, answered)
    t.equal(passes[0], added + 1, 'with the last token of the answer before')
    t.same(usage, {
      promptTokens: before + added,
      cachedTokens: before - 1,
      completionTokens: maxTokens,
    })
  }
  t.same(
    chat.messages.map(({ role }) => role),
    ['user', 'assistant', 'user', 'assistant', 'user', 'assistant'],
  )
})

t.test('an answer is that of the whole conversation', async t => {
  using chat = model.createChat({ messages: [system] })
  const expected = [bos, ...encode('<|system|>\nBe brief.'), eos]
  let [separator, content] = ['\n', 'Hello']
  for (let i = 0; i < 3; i++) {
    expected.push(...turn(`${separator}<|user|>\n${content}`))
    const options = { ...answered, stopSequences: ['<|user|>', '<|system|>'] }
    const { text, tokens } = await model.generate(expected, options)
    const answer = await chat.send(content, answered)
    t.equal(answer.text, text)
    t.same(chat.messages.at(-1), { role: 'assistant', content: text })
    expected.push(...tokens, eos)
    content = `Message ${i}`
    separator = '\n'
  }
})

t.test('messages are a prompt, too', async t => {
  const messages: Message[] = [system, { role: 'user', content: 'Hello' }]
  const { tokens } = await model.generate(messages, answered)
  t.same(tokens, (await model.generate(model.encodeChat(messages), answered)).tokens)
  using session = model.createSession()
  t.same((await session.generate(messages, answered)).tokens, tokens)
  const score = await model.score(messages, ' Hello')
  const same = await model.score(model.encodeChat(messages), encode(' Hello'))
  t.same(score, same)
})

t.test('an aborted turn leaves a chat that goes on', async t => {
  const reason = new Error('enough')
  for (const given of [0, 1, 5]) {
    using chat = model.createChat()
    await chat.send('Hello', answered)
    const before = { messages: chat.messages, usage: chat.contextUsage }
    const controller = new AbortController()
    const stream = chat.stream('Why?', { ...answered, maxTokens: 100, signal: controller.signal })
    let text = ''
    for (let i = 0; i < given; i++) {
      const { value } = await stream.next()
      text += (value as { text: string }).text
    }
    const next = stream.next()
    await t.rejects(chat.send('x'), { code: 'BUSY' })
    t.throws(() => chat.reset(), { code: 'BUSY' })
    t.throws(() => chat.fork(), { code: 'BUSY' })
    controller.abort(reason)
    await t.rejects(next, reason)
    const said: Message[] = [
      { role: 'user', content: 'Why?' },
      { role: 'assistant', content: text },
    ]
    t.same(chat.messages, given === 0 ? before.messages : [...before.messages, ...said])
    if (given === 0) t.equal(chat.contextUsage, before.usage)

    const answer = await chat.send('Go on', answered)
    t.same(chat.messages.at(-1), { role: 'assistant', content: answer.text })
    t.ok(answer.usage.cachedTokens >= before.usage - 1, 'what was said before is still computed')
  }
})

t.test('leaving the loop keeps what was given', async t => {
  using chat = model.createChat()
  let text = ''
  for await (const chunk of chat.stream('Hello', { ...answered, maxTokens: 100 })) {
    text += chunk.text
    if (text.length > 10) break
  }
  t.same(chat.messages.at(-1), { role: 'assistant', content: text })
  t.ok(await chat.send('Go on', answered))
  t.equal(chat.messages.length, 4)
})

t.test('stop sequences, end tokens and held text are none of the conversation', async t => {
  const { chat, passes } = watchedChat()
  const options = { ...answered, maxTokens: 40 }
  const { text, tokens } = await chat.send('Tell me', options)
  chat.reset()
  const stop = text.slice(8, 12)
  const result = await chat.send('Tell me', { ...options, stopSequences: [stop] })
  t.equal(result.text, text.slice(0, text.indexOf(stop)))
  t.same(chat.messages.at(-1), { role: 'assistant', content: result.text })
  const again = await chat.send('More', options)
  const expected = chat.messages.slice(0, -1)
  t.ok(again.usage.cachedTokens > 0)
  t.equal(expected.length, 3)

  chat.reset()
  passes.length = 0
  const ended = await chat.send('Tell me', { ...options, stopTokens: [tokens[3]!] })
  const end = tokens.indexOf(tokens[3]!)
  t.same(ended.tokens, tokens.slice(0, end + 1))
  const { usage } = await chat.send('More', options)
  const added = [eos, ...turn('\n<|user|>\nMore')].length
  t.equal(usage.promptTokens - usage.cachedTokens, added, 'the stop token is not in it')
})

t.test('a full context forgets the oldest messages', async t => {
  const { chat } = watchedChat({ messages: [system] })
  let isForgetful = false
  const kept: number[] = []
  for (let i = 0; i < 40; i++) {
    const before = chat.messages.length
    const { usage } = await chat.send(`This is message number ${i}`, answered)
    t.ok(usage.promptTokens + maxTokens <= chat.contextLength)
    const [first, second] = chat.messages
    t.same(first, system)
    t.equal(second!.role, 'user')
    if (chat.messages.length < before + 2) {
      isForgetful = true
      t.ok(usage.promptTokens <= chat.contextLength / 2, 'down to half at once')
      kept.push(i)
    }
  }
  t.ok(isForgetful)
  t.ok(kept.length < 20, 'and not at every turn')

  const strict = watchedChat({ truncate: 'error' }).chat
  const fill = async () => {
    for (let i = 0; i < 60; i++) await strict.send(`This is message number ${i}`, answered)
  }
  await t.rejects(fill(), { code: 'CONTEXT_OVERFLOW' })
  t.equal(strict.messages.length % 2, 0)

  for (const { chat } of [watchedChat(), watchedChat({ truncate: 'error' })]) {
    await t.rejects(chat.send('word '.repeat(2000), answered), { code: 'CONTEXT_OVERFLOW' })
    const start = performance.now()
    await t.rejects(chat.send('word '.repeat(2_000_000)), { code: 'CONTEXT_OVERFLOW' })
    t.ok(performance.now() - start < 1000)
    t.same(chat.messages, [])
    await chat.send('Hello', answered)
    t.equal(chat.messages.length, 2)
  }
})

t.test('append, fork and reset', async t => {
  const { chat, passes } = watchedChat({ messages: [system] })
  await chat.append({ role: 'user', content: 'Hello' })
  await chat.append({ role: 'assistant', content: 'Good day.' })
  t.equal(chat.messages.length, 3)
  t.equal(chat.contextUsage, passes[0]! + passes[1]!)
  passes.length = 0
  await chat.send('Who are you?', answered)
  t.equal(passes[0], turn('\n<|user|>\nWho are you?').length)
  chat.reset()
  t.same(chat.messages, [system])
  t.equal(chat.contextUsage, 0)

  using whole = model.createChat()
  await whole.send('Hello', answered)
  using fork = whole.fork()
  t.same(fork.messages, whole.messages)
  const [a, b] = await Promise.all([whole.send('Why?', answered), fork.send('Why?', answered)])
  t.same(a.tokens, b.tokens)
  t.ok(b.usage.cachedTokens > 0, 'with what was computed')
  await whole.send('More', answered)
  t.equal(fork.messages.length, 4)
})

t.test('a template that changes what was said is heeded', async t => {
  const trims = await jinjaTemplate(
    'test',
    '{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{{ eos_token }}{% endfor %}' +
      '{% if add_generation_prompt %}[assistant]{% endif %}',
    {},
  )
  for (const template of [trims, noTemplate]) {
    const { chat } = watchedChat({}, template)
    await chat.send('  Hello  ', answered)
    const [, answer] = chat.messages
    const { usage, tokens } = await chat.send(' Why? ', answered)
    t.ok(usage.cachedTokens > 3, 'up to where it differs')
    const said = [
      { role: 'user', content: '  Hello  ' },
      answer,
      { role: 'user', content: ' Why? ' },
    ]
    const parts = template.render(said as never, tokenizer, true)
    const expected = await model.generate(tokenizer.encode(parts), answered)
    t.same(tokens, expected.tokens)
  }
})

t.test('wrong arguments are named', async t => {
  t.throws(() => model.createChat({ messages: [{ role: 'robot' }] as never }), {
    ...invalid,
    message: /options\.messages\[0\]\.role/,
  })
  t.throws(() => model.createChat({ truncate: 'newest' as never }), invalid)
  t.throws(() => model.createChat({ contextLength: 0 }), invalid)
  t.throws(() => model.createChat({ system: 'x' } as never), invalid)
  using chat = model.createChat()
  t.throws(() => chat.stream(5 as never), { ...invalid, message: /^expected content to be/ })
  t.throws(() => chat.stream('x', { maxTokens: 0 }), invalid)
  await t.rejects(chat.append({ role: 'user' } as never), invalid)
  await t.rejects(chat.measure(5 as never), invalid)
  chat.dispose()
  await t.rejects(chat.send('x'), { code: 'DISPOSED' })
})
