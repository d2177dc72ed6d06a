import { invalidArgument } from '../errors.js'
import { oneOf } from '../options.js'

/** What one side says in a conversation. */
export interface Message {
  readonly role: 'system' | 'user' | 'assistant'
  /** Text, also in parts, which are joined as they are. */
  readonly content: string | readonly { readonly type: 'text'; readonly text: string }[]
}

/** A message whose parts are joined. */
export interface PlainMessage {
  readonly role: Message['role']
  readonly content: string
}

const roles = ['system', 'user', 'assistant'] as const

/**
 * Checks messages that a caller gives.
 *
 * @throws OpenELMError INVALID_ARGUMENT naming what is wrong by its path below `name`.
 */
export function readMessages(name: string, value: unknown): PlainMessage[] {
  if (!Array.isArray(value)) throw invalidArgument(name, 'an array of messages', value)
  return Array.from(value, (message: unknown, i) => {
    const path = `${name}[${i}]`
    if (typeof message !== 'object' || message === null) {
      throw invalidArgument(path, 'a message', message)
    }
    const { role, content } = message as { role?: unknown; content?: unknown }
    return {
      role: oneOf(...roles)(`${path}.role`, role),
      content: readContent(`${path}.content`, content),
    }
  })
}

/** @throws OpenELMError INVALID_ARGUMENT */
export function readContent(name: string, content: unknown): string {
  if (typeof content === 'string') return content.toWellFormed()
  if (!Array.isArray(content)) throw invalidArgument(name, 'a string or an array of parts', content)
  const texts = Array.from(content, (part: unknown, i) => {
    const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown }
    if (type !== 'text') throw invalidArgument(`${name}[${i}].type`, '"text"', type)
    if (typeof text !== 'string') throw invalidArgument(`${name}[${i}].text`, 'a string', text)
    return text
  })
  return texts.join('').toWellFormed()
}
