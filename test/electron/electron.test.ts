import { EventEmitter, once } from 'node:events'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { connect, type Port, serve } from '../../lib/electron/index.js'
import { OpenELM } from '../../lib/index.js'

const model = await OpenELM.load('openelm-nano', { threads: 1 })
t.teardown(() => model.dispose())

/** Electron's MessagePortMain in what matters: an emitter whose events have the message as `data`. */
class MainPort extends EventEmitter implements Port {
  readonly #port: MessagePort
  constructor(port: MessagePort) {
    super()
    this.#port = port
    port.on('message', data => this.emit('message', { data }))
    port.on('close', () => this.emit('close'))
  }
  postMessage(message: unknown): void {
    this.#port.postMessage(message)
  }
  start(): void {
    this.#port.start()
  }
  close(): void {
    this.#port.close()
  }
}

/** A connection to the model, and how many messages came through it. */
function connection(t: Test, wrap: (port: MessagePort) => Port = port => port) {
  const { port1, port2 } = new MessageChannel()
  const seen = { messages: 0 }
  port2.on('message', () => seen.messages++)
  serve(model, wrap(port1))
  const remote = connect(port2)
  t.teardown(() => remote.close())
  return { remote, port1, port2, seen }
}

const nothingCached = async () => {
  const begin = Date.now()
  while (model.memory.kvCache > 0 && Date.now() - begin < 10_000) {
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  return model.memory.kvCache
}

const ports = {
  'a port of worker_threads': (port: MessagePort) => port,
  MessagePortMain: (port: MessagePort) => new MainPort(port),
}
for (const [name, wrap] of Object.entries(ports)) {
  t.test(`${name} gives what the model itself gives, in few messages`, async t => {
    const { remote, seen } = connection(t, wrap)
    const options = { temperature: 0.9, seed: 3, maxTokens: 200, logprobs: 2 }
    const expected = await model.generate('It was', options)
    const stream = remote.stream('It was', options)
    const chunks = []
    for await (const chunk of stream) chunks.push(chunk)
    const { timings, ...result } = await stream.result
    const { timings: _, ...same } = expected
    t.same(result, same)
    t.ok(timings.decodeTokensPerSecond > 0)
    t.same(
      chunks.map(chunk => chunk.token),
      expected.tokens,
    )
    t.ok(chunks.every(chunk => chunk.topLogprobs?.length === 2))
    t.ok(seen.messages < 100, `${seen.messages} messages for 200 tokens`)
    t.equal(await nothingCached(), 0)
  })
}

t.test('calls go on side by side', async t => {
  const { remote } = connection(t)
  const prompts = ['It was', 'She', [1, 5, 9], [{ role: 'user' as const, content: 'Hello' }]]
  const options = { maxTokens: 20 }
  const both = await Promise.all(
    prompts.map(async prompt => [
      (await remote.generate(prompt, options)).text,
      (await model.generate(prompt, options)).text,
    ]),
  )
  for (const [there, here] of both) t.equal(there, here)
})

t.test('a chat is the one that the model has', async t => {
  const { remote } = connection(t)
  const options = { messages: [{ role: 'system' as const, content: 'Be kind.' }] }
  const there = await remote.createChat(options)
  const here = model.createChat(options)
  t.equal(there.contextLength, here.contextLength)
  t.same(there.messages, here.messages)
  for (const content of ['Hello', 'And then?']) {
    t.equal(await there.measure(content), await here.measure(content))
    const [answer, expected] = await Promise.all([
      there.send(content, { maxTokens: 12 }),
      here.send(content, { maxTokens: 12 }),
    ])
    t.equal(answer.text, expected.text)
    t.same(answer.usage, expected.usage)
    t.same(there.messages, here.messages)
    t.equal(there.contextUsage, here.contextUsage)
  }
  const fork = await there.fork()
  await there.reset()
  t.equal(there.messages.length, 1)
  t.equal(fork.messages.length, 5)
  await fork.append({ role: 'user', content: 'More' })
  t.equal(fork.messages.length, 6)
  await Promise.all([there.dispose(), fork.dispose()])
  await there.dispose()
  here.dispose()
  t.equal(await nothingCached(), 0)
  await t.rejects(there.send('Hello'), { code: 'DISPOSED' })
})

t.test('an aborted answer stays as far as it was given, and the chat goes on', async t => {
  const { remote } = connection(t)
  const chat = await remote.createChat()
  const controller = new AbortController()
  let text = ''
  const left = chat.stream('Hello', { maxTokens: 400, ignoreEos: true, signal: controller.signal })
  await t.rejects(
    (async () => {
      for await (const chunk of left) {
        text += chunk.text
        if (text.length > 20) controller.abort(new Error('enough'))
      }
    })(),
    { message: 'enough' },
  )
  const [, answer] = chat.messages
  t.match(answer, { role: 'assistant' })
  t.ok(String(answer!.content).startsWith(text), 'the model may have been further than the reader')
  await chat.send('Go on', { maxTokens: 4 })
  await chat.dispose()
  t.equal(await nothingCached(), 0)
})

t.test('a stream that is left gives its memory back', async t => {
  const { remote } = connection(t)
  const stream = remote.stream('It was', { maxTokens: 400, ignoreEos: true })
  for await (const _ of stream) break
  t.equal(await nothingCached(), 0)
  await t.rejects(stream.result, { name: 'AbortError' })
})

t.test('errors are those of the model, without a stack of its process', async t => {
  const { remote } = connection(t)
  await t.rejects(remote.generate('It was', { maxTokens: 0 }), {
    name: 'OpenELMError',
    code: 'INVALID_ARGUMENT',
    argument: 'options.maxTokens',
  })
  await t.rejects(remote.generate('a'.repeat(100_000)), { code: 'CONTEXT_OVERFLOW' })
  await t.rejects(remote.createChat({ contextLength: -1 }), { code: 'INVALID_ARGUMENT' })
  await t.rejects(remote.generate('It was', { signal: AbortSignal.abort() }), {
    name: 'AbortError',
  })
  t.throws(() => remote.stream('It was', { signal: 5 as never }), { code: 'INVALID_ARGUMENT' })
  const chat = await remote.createChat()
  const answer = chat.send('Hello', { maxTokens: 50, ignoreEos: true })
  await t.rejects(chat.send('Hello'), { code: 'BUSY' })
  await answer
  t.equal(
    await remote.tokenizer.count('It was'),
    (await model.tokenizer.encodeAsync('It was', { addBos: false })).length,
  )
})

t.test('a port says nothing but what it was made for', async t => {
  const { port1, port2 } = new MessageChannel()
  serve(model, port1)
  t.teardown(() => port2.close())
  const answers: unknown[] = []
  port2.on('message', answer => answers.push(answer))
  const nonsense = [
    null,
    5,
    'text',
    [],
    {},
    { id: 'a' },
    { id: 1 },
    { id: 1, method: 'stream' },
    { id: 1, abort: true },
    { id: 1, method: 5, args: [] },
  ]
  for (const message of nonsense) port2.postMessage(message)
  for (const method of ['dispose', 'constructor', '__proto__', 'load', 'toString', '#run']) {
    port2.postMessage({ id: 7, method, args: [] })
  }
  port2.postMessage({ id: 8, chat: 3, method: 'reset', args: [] })
  while (answers.length < 7) await once(port2, 'message')
  t.equal(answers.length, 7)
  for (const answer of answers.slice(0, 6)) {
    t.match(answer, { id: 7, error: { code: 'INVALID_ARGUMENT', stack: undefined } })
  }
  t.match(answers[6], { id: 8, error: { code: 'DISPOSED' } })
  t.equal((await model.generate('It was', { maxTokens: 2 })).tokens.length, 2)
})

t.test('a closed port ends what it had under way, on both sides', async t => {
  const { remote, port1 } = connection(t)
  const chat = await remote.createChat()
  const long = { maxTokens: 400, ignoreEos: true }
  const rejected = Promise.all([
    t.rejects(remote.generate('It was', long), { code: 'DISPOSED' }),
    t.rejects(chat.send('Hello', long), { code: 'DISPOSED' }),
  ])
  await new Promise(resolve => setTimeout(resolve, 30))
  port1.close()
  await rejected
  t.equal(await nothingCached(), 0)
  await t.rejects(remote.generate('It was'), { code: 'DISPOSED' })
})
