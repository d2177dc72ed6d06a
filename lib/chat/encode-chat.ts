import { invalidArgument } from '../errors.js'
import type { Tokenizer } from '../tokenizer.js'
import { readBoolean, readObject } from '../validate.js'
import { type Message, readMessages } from './message.js'
import type { ChatTemplate } from './template.js'

export interface EncodeChatOptions {
  /**
   * Whether the last message, one of the assistant, is the beginning of the answer, which the model goes
   * on with. Default false: the model is to answer the last message.
   */
  continueFinal?: boolean | undefined
}

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
  const { continueFinal } = readObject('options', options)
  const continues = readBoolean('options.continueFinal', continueFinal, false)
  const plain = readMessages('messages', messages)
  const last = plain.at(-1)
  if (last === undefined) throw invalidArgument('messages', 'at least one message', messages)
  if (continues && last.role !== 'assistant') {
    throw invalidArgument('the role of the last message', '"assistant", to be continued', last.role)
  }
  const { defaultSystem: content } = template
  if (content !== undefined && plain[0]?.role !== 'system')
    plain.unshift({ role: 'system', content })

  const hasBegun = continues && last.content.trim() !== ''
  if (continues && !hasBegun) plain.pop()
  const rendered = template.render(plain, tokenizer, !hasBegun)
  const parts = hasBegun ? cutAfter(rendered, last.content) : rendered
  const tokens = tokenizer.encode(parts, { addBos: parts[0] !== tokenizer.bosTokenId })
  return Int32Array.from(tokens)
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
