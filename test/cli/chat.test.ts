import { once } from 'node:events'
import t from 'tap'
import { OpenELM } from '../../lib/model.js'
import { initTiny, needsScript, pipe, startInTerminal } from '../helpers/cli.js'

t.jobs = 4

const tiny = await initTiny(t)

t.test('chat over a pipe answers line by line, each in the light of those before', async t => {
  const args = ['chat', '-m', tiny, '--max-tokens', '10', '--system', 'Be brief.']
  const input = 'Hello\n\nWhy </s>?\n/exit\nignored\n'
  const { code, stdout, stderr } = await pipe(input, ...args)
  t.same({ code, stderr }, { code: 0, stderr: '' })

  await using model = await OpenELM.load(tiny)
  const { tokenizer } = model
  const [bos, eos] = [1, 2]
  const encode = (text: string) => tokenizer.encode(text, { addBos: false })
  const prompt = [bos, ...encode('<|system|>\nBe brief.'), eos, ...encode('\n<|user|>\nHello')]
  prompt.push(eos, ...encode('\n<|assistant|>\n'))
  const first = await model.generate(prompt, { maxTokens: 10 })
  prompt.push(...first.tokens, eos, ...encode('\n<|user|>\nWhy </s>?'))
  prompt.push(eos, ...encode('\n<|assistant|>\n'))
  const second = await model.generate(prompt, { maxTokens: 10 })
  t.equal(stdout, `${first.text}\n${second.text}\n`)
})

t.test('chat forgets the oldest messages when the context is full', async t => {
  const args = ['chat', tiny, '--max-tokens', '20', '--context-length', '80']
  const { code, stdout, stderr } = await pipe(`Hello\nHello\n${'long '.repeat(100)}`, ...args)
  t.equal(code, 0)
  const [first, second] = stdout.split('\n')
  t.equal(second, first)
  const notices = stderr.trimEnd().split('\n')
  t.equal(notices.length, 2)
  t.equal(notices[0], 'openelm: the context was full: the oldest messages are forgotten')
  t.match(notices[1], /^openelm: .*80/, 'a message that fits nowhere does not end the chat')
})

t.test('chat says that a line of 200,000 words is too long', async t => {
  const { code, stderr } = await pipe(`${'word '.repeat(200_000)}\n`, 'chat', '-m', tiny)
  t.equal(code, 0, stderr)
  t.match(stderr, /^openelm: .*do not fit|context/)
})

t.test('chat in a terminal', { skip: needsScript }, async t => {
  const sizes = ['--max-tokens', '500000', '--context-length', '500000']
  const child = startInTerminal(['chat', '-m', tiny, ...sizes, '--temperature', '1'])
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', data => {
    screen += data
  })
  const shows = async (pattern: RegExp) => {
    while (!pattern.test(screen)) await once(child.stdout, 'data')
    screen = ''
  }
  await shows(/\[0J> /)
  child.stdin.write('Hello\r')
  await shows(/Hello[\r\n]+.{20}/s)
  child.stdin.write('\x03')
  await shows(/\[0J> /)
  child.stdin.write('\x03')
  const [code] = await once(child, 'close')
  t.equal(code, 130)
})

t.test('lines that are pasted at once are one message', { skip: needsScript }, async t => {
  await using model = await OpenELM.load(tiny)
  const chat = model.createChat()
  const { text } = await chat.send('Once upon\na time\nthere was', { maxTokens: 6 })
  const shown = text.replace(/(?![\n\t])\p{Cc}/gu, '\ufffd').replaceAll('\n', '\r\n')

  const child = startInTerminal(['chat', tiny, '--max-tokens', '6'])
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', data => {
    screen += data
  })
  const shows = async (...parts: string[]) => {
    while (!parts.every(part => screen.includes(part))) await once(child.stdout, 'data')
  }
  await shows('\x1b[?2004h', '\x1b[0J> ')
  child.stdin.write('\x1b[200~Once upon\ra time\r\x1b[201~there was\r')
  // What is typed before that would be echoed amid the answer.
  await shows(`${shown}\r\n`)
  child.stdin.write('/exit\r')
  await once(child, 'close')
  t.ok(screen.endsWith('\x1b[?2004l'), 'the terminal is as it was')
})
