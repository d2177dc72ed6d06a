import { invalidArgument } from '../errors.js'
import { boolean, optional, type RulesOf, readOptions } from '../options.js'
import type { Tokenizer } from '../tokenizer.js'
import { type Message, type PlainMessage, readMessages } from './message.js'
import type { ChatTemplate } from './template.js'

/** Options of `OpenELM.encodeChat`. */
export interface EncodeChatOptions {
  /**
   * Whether the last message, one of the assistant, is the beginning of the answer, which the model goes
   * on with. Default false: the model is to answer the last message.
   */
  continueFinal?: boolean | undefined
}

const rules = { continueFinal: optional(boolean, false) } satisfies RulesOf<EncodeChatOptions>

/**
 * The tokens of a conversation up to the answer that the model is to give, after one BOS. No special
 * token comes of what the messages say.
 *
 * @throws OpenELMError INVALID_ARGUMENT, also when the template refuses the messages; INVALID_TOKENIZER
 *   when the template does not end.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly Message[],
  options?: EncodeChatOptions,
): Int32Array {
  const { continueFinal } = readOptions(options, rules)
  const parts = renderChat(tokenizer, template, readMessages('messages', messages), continueFinal)
  return Int32Array.from(tokenizer.encode(parts, { addBos: needsBos(parts, tokenizer) }))
}

/** Whether a template left it to its caller to begin the conversation with BOS. */
export function needsBos(parts: readonly (string | number)[], { bosTokenId }: Tokenizer): boolean {
  return parts[0] !== bosTokenId
}

/**
 * The texts and token ids of a conversation up to the answer that the model is to give.
 *
 * @param continues whether the model goes on with the last message, which is the assistant's.
 * @throws OpenELMError as {@link encodeChat}.
 */
export function renderChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly PlainMessage[],
  continues = false,
): (string | number)[] {
  const last = messages.at(-1)
  if (last === undefined) throw invalidArgument('messages', 'at least one message', messages)
  if (continues && last.role !== 'assistant') {
    throw invalidArgument('the role of the last message', '"assistant", to be continued', last.role)
  }
  const hasBegun = continues && last.content.trim() !== ''
  const said = withSystem(template, continues && !hasBegun ? messages.slice(0, -1) : messages)
  const parts = template.render(said, tokenizer, !hasBegun)
  return hasBegun ? cutAfter(parts, last.content) : parts
}

/** A conversation with the system message that the template's model expects. */
export function withSystem(
  { defaultSystem: content }: Pick<ChatTemplate, 'defaultSystem'>,
  messages: readonly PlainMessage[],
): readonly PlainMessage[] {
  if (content === undefined || messages[0]?.role === 'system') return messages
  return [{ role: 'system', content }, ...messages]
}

/** What stands up to the end of the last message, whose white space a template may have taken away. */
function cutAfter(parts: readonly (string | number)[], content: string): (string | number)[] {
  for (const text of [content, content.trim()]) {
    const last = parts.findLastIndex(part => typeof part === 'string' && part.includes(text))
    const part = parts[last]
    if (typeof part !== 'string') continue
    return [...parts.slice(0, last), part.slice(0, part.lastIndexOf(text) + text.length)]
  }
  throw invalidArgument('the last message', 'one that the chat template writes as it is', content)
}
