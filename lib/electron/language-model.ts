import { invalidArgument } from '../errors.js'
import type { Chat, JsonSchema, Message, OpenELM } from '../index.js'

// Types of Electron, in what is used here of them: this package depends on none of it.

interface PromptMessage {
  role: Message['role']
  content: { type: 'text' | 'image' | 'audio'; value: string | ArrayBuffer }[]
  prefix?: boolean
}

interface SignalOption {
  signal: AbortSignal
}

interface PromptOptions extends SignalOption {
  responseConstraint?: object | RegExp
}

interface CoreOptions {
  expectedInputs?: { type: 'text' | 'image' | 'audio' }[]
  expectedOutputs?: { type: 'text' | 'image' | 'audio' }[]
}

interface CreateOptions extends CoreOptions, SignalOption {
  initialPrompts?: PromptMessage[]
}

/** What Electron's `LanguageModelUtility` is an instance of. */
export interface PromptSession {
  contextUsage: number
  contextWindow: number
}

/** Electron's `LanguageModelUtility`, or a class with its constructor. */
export type PromptSessionClass = new (state: PromptSession) => PromptSession

interface Talk {
  readonly chat: Chat
  /** Ends with the call that came last. */
  last: Promise<unknown>
}

/** Of each session. Declarations cannot be made of private members of a class that a function returns. */
const talks = new WeakMap<PromptSession, Talk>()

/**
 * Lets pages use the model by the web's Prompt API: the class that `localAIHandler.setPromptAPIHandler` of
 * Electron's utility process wants, which is experimental there.
 *
 *     import { LanguageModelUtility, localAIHandler } from 'electron/utility'
 *     const Session = languageModel(model, LanguageModelUtility)
 *     localAIHandler.setPromptAPIHandler(() => Session)
 *
 * Each session is a `Chat`. Prompts of one session are answered one after the other. Text is all that it
 * takes and gives; `prefix` is refused.
 */
export function languageModel(model: OpenELM, LanguageModelUtility: PromptSessionClass) {
  return class ChatSession extends LanguageModelUtility {
    /** Called by `create` and `clone`; Electron's type wants its own constructor's argument to do. */
    constructor({ chat, ...state }: PromptSession & { chat: Chat }) {
      super(state)
      talks.set(this, { chat, last: Promise.resolve() })
    }

    static async availability({ expectedInputs = [], expectedOutputs = [] }: CoreOptions = {}) {
      const isText = [...expectedInputs, ...expectedOutputs].every(({ type }) => type === 'text')
      return isText ? 'available' : 'unavailable'
    }

    static async create({ initialPrompts = [], signal }: CreateOptions) {
      signal?.throwIfAborted()
      const messages = initialPrompts.map(readMessage)
      return new ChatSession(stateOf(model.createChat({ messages })))
    }

    async prompt(input: PromptMessage[], options: PromptOptions): Promise<ReadableStream<string>> {
      const messages = input.map(readMessage)
      if (messages.at(-1)?.role !== 'user') {
        throw invalidArgument('input', 'a last message of the user', messages.at(-1)?.role)
      }
      return textStream(answer(this, messages, options))
    }

    async append(input: PromptMessage[], options: SignalOption): Promise<undefined> {
      const messages = input.map(readMessage)
      await inTurn(this, () => add(this, messages, options))
    }

    async measureContextUsage(input: PromptMessage[], { signal }: PromptOptions): Promise<number> {
      const { chat } = talks.get(this)!
      let tokens = 0
      for (const { content } of input.map(readMessage)) {
        tokens += await chat.measure(content, { signal })
      }
      return tokens
    }

    async clone({ signal }: SignalOption) {
      return inTurn(this, async () => {
        signal?.throwIfAborted()
        return new ChatSession(stateOf(talks.get(this)!.chat.fork()))
      })
    }

    destroy(): void {
      talks.get(this)!.chat.dispose()
    }
  }
}

async function* answer(
  session: PromptSession,
  messages: Message[],
  { signal, responseConstraint }: PromptOptions,
) {
  const talk = talks.get(session)!
  const before = talk.last
  let end = () => {}
  talk.last = new Promise<void>(resolve => {
    end = resolve
  })
  await before
  try {
    await add(session, messages.slice(0, -1), { signal })
    const constraint = responseConstraint as JsonSchema | RegExp | undefined
    const options = { signal, responseConstraint: constraint }
    for await (const { text } of talk.chat.stream(messages.at(-1)!.content, options)) yield text
  } finally {
    session.contextUsage = talk.chat.contextUsage
    end()
  }
}

async function add(session: PromptSession, messages: Message[], { signal }: SignalOption) {
  const { chat } = talks.get(session)!
  for (const message of messages) await chat.append(message, { signal })
  session.contextUsage = chat.contextUsage
}

/** Does work after all calls before have ended. */
async function inTurn<Result>(
  session: PromptSession,
  work: () => Promise<Result>,
): Promise<Result> {
  const talk = talks.get(session)!
  const result = talk.last.then(work)
  talk.last = result.catch(() => {})
  return result
}

/** `ReadableStream.from`, which the types of pages lack. */
function textStream(texts: AsyncGenerator<string>): ReadableStream<string> {
  return new ReadableStream<string>(
    {
      async pull(controller) {
        const { done, value } = await texts.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await texts.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
}

function stateOf(chat: Chat) {
  return { chat, contextUsage: chat.contextUsage, contextWindow: chat.contextLength }
}

function readMessage({ role, content, prefix }: PromptMessage, i: number): Message {
  if (prefix) throw invalidArgument(`input[${i}].prefix`, 'no prefix of an answer', prefix)
  const text = content.map(({ type, value }) => {
    if (type !== 'text') throw invalidArgument(`input[${i}].content`, 'text', type)
    return String(value)
  })
  return { role, content: text.join('') }
}
