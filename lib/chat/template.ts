import type { Tokenizer } from '../tokenizer.js'
import type { PlainMessage } from './message.js'

/** How a conversation becomes one sequence of tokens. */
export interface ChatTemplate {
  /**
   * The conversation as texts and token ids. Texts are encoded as text: no special token comes of them.
   *
   * @param addGenerationPrompt whether the mark follows that begins an answer.
   * @throws OpenELMError INVALID_ARGUMENT when it has no such conversations, INVALID_TOKENIZER when the
   *   template itself is wrong.
   */
  render(
    messages: readonly PlainMessage[],
    tokenizer: Tokenizer,
    addGenerationPrompt: boolean,
  ): (string | number)[]
  /** What a conversation begins with that has no system message of its own. Undefined for nothing. */
  readonly defaultSystem?: string
  /** The marks of the turns that another side begins. An answer ends where one comes. */
  readonly stopSequences: readonly string[]
}

/**
 * What Apple tuned OpenELM's Instruct models with: the default template of Hugging Face's alignment
 * handbook. Its marks are plain text, which a message may hold as well; only the token that ends each
 * message is one that text never becomes. Messages of other roles are left out.
 *
 * In Apple's tuning every conversation without a system message began with an empty one.
 */
export const zephyr: ChatTemplate = {
  render(messages, { eosTokenId }, addGenerationPrompt) {
    const parts: (string | number)[] = []
    let text = ''
    for (const { role, content } of messages) {
      if (!['system', 'user', 'assistant'].includes(role)) continue
      parts.push(`${text}<|${role}|>\n${content}`, eosTokenId)
      text = '\n'
    }
    if (addGenerationPrompt) text += '<|assistant|>\n'
    return text === '' ? parts : [...parts, text]
  },
  defaultSystem: '',
  stopSequences: ['<|user|>', '<|system|>'],
}

/** Nothing but what is said, a message a line: for models that know no turns. */
export const noTemplate: ChatTemplate = {
  render: messages => [messages.map(({ content }) => content).join('\n')],
  stopSequences: [],
}
