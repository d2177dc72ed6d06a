import t from 'tap'
import { languageModel } from '../../lib/electron/index.js'
import { OpenELM } from '../../lib/index.js'

/** As Electron's, in what matters here. */
class LanguageModelUtility {
  contextUsage: number
  contextWindow: number
  constructor({ contextUsage, contextWindow }: { contextUsage: number; contextWindow: number }) {
    this.contextUsage = contextUsage
    this.contextWindow = contextWindow
  }
}

const model = await OpenELM.load('openelm-nano', { threads: 1 })
t.teardown(() => model.dispose())
const Session = languageModel(model, LanguageModelUtility)
const { signal } = new AbortController()
const text = (value: string, role: 'user' | 'assistant' | 'system' = 'user') => ({
  role,
  content: [{ type: 'text' as const, value }],
})
const read = async (stream: AsyncIterable<string>) => {
  let all = ''
  for await (const part of stream) all += part
  return all
}
// The model may say much; a pattern makes all of it short.
const short = { signal, responseConstraint: /[a-z]{8}/ }

t.test('a session is a chat, answered in turn', async t => {
  const session = await Session.create({ initialPrompts: [text('Be kind.', 'system')], signal })
  t.teardown(() => session.destroy())
  t.ok(session instanceof LanguageModelUtility)
  t.equal(session.contextWindow, model.contextLength)
  t.equal(session.contextUsage, 0)

  const chat = model.createChat({ messages: [{ role: 'system', content: 'Be kind.' }] })
  t.teardown(() => chat.dispose())
  const constraint = { responseConstraint: short.responseConstraint }
  const expected = [
    (await chat.send('Hello', constraint)).text,
    (await chat.send('And you?', constraint)).text,
  ]
  const streams = [
    await session.prompt([text('Hello')], short),
    await session.prompt([text('And you?')], short),
  ]
  t.same(await Promise.all(streams.map(read)), expected)
  t.equal(session.contextUsage, chat.contextUsage)

  const copy = await session.clone({ signal })
  t.teardown(() => copy.destroy())
  t.equal(copy.contextUsage, session.contextUsage)
  await copy.append([text('More', 'user')], { signal })
  t.ok(copy.contextUsage > session.contextUsage, 'the two go on independently')
  const measured = await session.measureContextUsage([text('More')], { signal })
  const twice = await session.measureContextUsage([text('More'), text('More')], { signal })
  t.ok(measured > 0)
  t.equal(twice, 2 * measured)
})

t.test('messages before the last are part of the conversation', async t => {
  const session = await Session.create({ signal })
  t.teardown(() => session.destroy())
  const chat = model.createChat()
  t.teardown(() => chat.dispose())
  await chat.append({ role: 'user', content: 'Hello' })
  await chat.append({ role: 'assistant', content: 'Good evening.' })
  const { text: expected } = await chat.send('Who is there?', {
    responseConstraint: short.responseConstraint,
  })
  const messages = [text('Hello'), text('Good evening.', 'assistant'), text('Who is there?')]
  t.equal(await read(await session.prompt(messages, short)), expected)
})

t.test('an answer that is left or aborted lets the session go on', async t => {
  const session = await Session.create({ signal })
  t.teardown(() => session.destroy())
  const reader = (await session.prompt([text('Hello')], { signal })).getReader()
  await reader.read()
  await reader.cancel()
  const stop = new AbortController()
  const stopped = (await session.prompt([text('Hello')], { signal: stop.signal })).getReader()
  await stopped.read()
  stop.abort()
  await t.rejects(
    (async () => {
      while (!(await stopped.read()).done);
    })(),
    { name: 'AbortError' },
  )
  t.equal((await read(await session.prompt([text('Hello')], short))).length, 8)

  session.destroy()
  await t.rejects(read(await session.prompt([text('Hello')], short)), { code: 'DISPOSED' })
  await t.rejects(session.clone({ signal }), { code: 'DISPOSED' })
})

t.test('what it does not do is refused', async t => {
  t.equal(await Session.availability(), 'available')
  t.equal(await Session.availability({ expectedInputs: [{ type: 'text' }] }), 'available')
  t.equal(await Session.availability({ expectedInputs: [{ type: 'image' }] }), 'unavailable')
  await t.rejects(Session.create({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  const session = await Session.create({ signal })
  t.teardown(() => session.destroy())
  const refused = { code: 'INVALID_ARGUMENT' }
  const image = { role: 'user' as const, content: [{ type: 'image' as const, value: '' }] }
  await t.rejects(session.prompt([image], { signal }), refused)
  await t.rejects(session.prompt([text('So', 'assistant')], { signal }), refused)
  await t.rejects(session.prompt([], { signal }), refused)
  await t.rejects(
    session.prompt([{ ...text('So', 'assistant'), prefix: true }], { signal }),
    refused,
  )
})
