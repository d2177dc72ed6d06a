import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Message, OpenELM } from '../../lib/index.js'
import { testBackend } from '../helpers/backend.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

const messages: Message[] = [{ role: 'user', content: 'Hi</s>' }]

t.test('a conversation is what generate takes', async t => {
  await using model = await OpenELM.load(writeTinyModel(t.testdir()), { backend: testBackend })
  const bytes = (text: string) => model.tokenizer.encode(text, { addBos: false })
  const tokens = model.encodeChat(messages)
  const turns = ['<|system|>\n', '\n<|user|>\nHi</s>'].flatMap(text => [...bytes(text), 2])
  t.same([...tokens], [1, ...turns, ...bytes('\n<|assistant|>\n')])
  const { usage } = await model.generate(tokens, { maxTokens: 1 })
  t.equal(usage.promptTokens, tokens.length)
})

t.test('a template can be given', async t => {
  const directory = writeTinyModel(t.testdir())
  const load = (chatTemplate: string) =>
    OpenELM.load(directory, { backend: testBackend, chatTemplate })
  await using plain = await load('none')
  t.same([...plain.encodeChat(messages)], plain.tokenizer.encode('Hi</s>'))
  await using jinja = await load('{{ messages[0].content }}{{ eos_token }}')
  t.same([...jinja.encodeChat(messages)], [...plain.tokenizer.encode('Hi</s>'), 2])
  await t.rejects(load('{% for %}'), { code: 'INVALID_TOKENIZER' })
  await t.rejects(load(5 as never), { code: 'INVALID_ARGUMENT', message: /options.chatTemplate/ })
})

t.test('one of the checkpoint that cannot be used is told where it is needed', async t => {
  const directory = writeTinyModel(t.testdir())
  writeFileSync(join(directory, 'chat_template.jinja'), '{% for %}')
  await using model = await OpenELM.load(directory, { backend: testBackend })
  t.throws(() => model.encodeChat(messages), {
    code: 'INVALID_TOKENIZER',
    message: /chat_template.jinja/,
  })
  t.equal((await model.generate('Hi', { maxTokens: 1 })).tokens.length, 1)
})
