import t from 'tap'
import { Conversation } from '../lib/cli/conversation.js'
import type { OpenELM } from '../lib/model.js'
import type { NativeSession } from '../lib/native.js'
import { Session } from '../lib/session.js'
import { loadTokenizer } from '../lib/tokenizer.js'

/** A model that answers what a test puts into `answers`, in a session whose tokens the test sees. */
async function scriptedModel() {
  const config = { vocabSize: 32000, bosTokenId: 1, eosTokenId: 2 }
  const tokenizer = await loadTokenizer(undefined, config)
  const tokens: number[] = []
  const answers: number[] = []
  const native = {
    contextLength: 1000,
    get position() {
      return tokens.length
    },
    rewind: (position: number) => tokens.splice(position),
    cancel() {},
    whenIdle: async () => {},
    async sample(appended: Int32Array) {
      const token = answers.shift()
      if (token === undefined) throw new Error('interrupted')
      tokens.push(...appended)
      return { token, logprob: Number.NaN, topTokens: [], topLogprobs: [] }
    },
  } as unknown as NativeSession
  const createSession = () => new Session(native, config.vocabSize)
  const model = { config, tokenizer, createSession } as unknown as OpenELM
  return { model, tokenizer, tokens, answers }
}

t.test('a conversation holds what was said and shown, and nothing else', async t => {
  const { model, tokenizer, tokens, answers } = await scriptedModel()
  const conversation = new Conversation(model, { template: 'zephyr' })
  const say = async (message: string) => {
    let answer = ''
    try {
      for await (const text of conversation.say(message, {})) answer += text
    } catch (error) {
      answer += `[${(error as Error).message}]`
    }
    return answer
  }
  const encode = (text: string) => tokenizer.encode(text, { addBos: false })
  const eos = tokenizer.eosTokenId
  const transcript = [tokenizer.bosTokenId]
  const turn = (user: string, answer: string) => {
    const opening = transcript.length === 1 ? '' : '\n'
    transcript.push(...encode(`${opening}<|user|>\n${user}`), eos, ...encode('\n<|assistant|>\n'))
    transcript.push(...encode(answer), eos)
  }
  /** The session may lack the end of the transcript, which goes ahead of the next turn. */
  const check = (missing: number, what: string) =>
    t.same(tokens, transcript.slice(0, -missing), what)

  answers.push(...encode('Good day.'), eos)
  t.equal(await say('Hello'), ' Good day.')
  turn('Hello', 'Good day.')
  check(1, 'an answer that ended by itself')

  answers.push(...encode('Yes.\n<|user|>\nYou?'), eos)
  t.equal(await say('Well?'), ' Yes.\n')
  turn('Well?', 'Yes.\n')
  check(1, 'an answer that went on as the user')

  answers.splice(0)
  answers.push(...encode('Let me'))
  t.equal(await say('Why?'), ' Let me[interrupted]')
  turn('Why?', 'Let me')
  check(2, 'an answer that was interrupted')

  t.equal(await say('Lost'), '[interrupted]')
  check(2, 'an answer that did not begin')

  answers.push(...encode('Ok'), eos)
  await say('On')
  turn('On', 'Ok')
  check(1, 'the next turn')

  t.ok(conversation.isFullFor('word '.repeat(200_000)), 'a message of any length is measured')

  conversation.restart()
  t.same(tokens, [])
})
