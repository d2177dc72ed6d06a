import { type PlainMessage, readMessages } from '../../chat/message.js'
import { invalidArgument } from '../../errors.js'
import { type Rule, string } from '../../options.js'
import { isJsonObject } from '../../strict-json.js'

/** A text of a row. */
export const text: Rule<string> = (name, value) => string(name, value).toWellFormed()

/**
 * Messages as a row has them.
 *
 * @throws OpenELMError INVALID_ARGUMENT, also for calls of tools.
 */
export function readConversation(name: string, value: unknown): readonly PlainMessage[] {
  const messages = readMessages(name, value)
  for (const [i, message] of (value as readonly unknown[]).entries()) {
    if (!isJsonObject(message) || !isGiven(message.tool_calls)) continue
    const expected = 'absent: only text can be learnt'
    throw invalidArgument(`${name}[${i}].tool_calls`, expected, message.tool_calls)
  }
  return messages
}

/** Whether a column holds something: tables write null, or an empty list, where a row has nothing. */
export function isGiven(value: unknown): boolean {
  return (value ?? undefined) !== undefined && !(Array.isArray(value) && value.length === 0)
}
