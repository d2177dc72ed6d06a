import type { PlainMessage } from '../../chat/message.js'
import { invalidArgument } from '../../errors.js'
import type { JsonObject } from '../../strict-json.js'
import { isGiven, readConversation, text } from './row-rules.js'
import type { SamplePair } from './sample.js'

/**
 * Reads a row with the columns `chosen` and `rejected`: conversations that differ in their last message,
 * with or without the column `prompt`; the answers to a `prompt`, all of them texts or all lists of
 * messages; or two whole texts with a common beginning, as those of hh-rlhf.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readPair({ prompt, chosen, rejected }: JsonObject): SamplePair {
  if (typeof chosen !== 'string') return readConversations(prompt, chosen, rejected)
  const [better, worse] = [text('chosen', chosen), text('rejected', rejected)]
  if (isGiven(prompt)) return completions(text('prompt', prompt), better, worse)
  const common = commonBeginning(better, worse)
  return completions(common, better.slice(common.length), worse.slice(common.length))
}

function completions(prompt: string, chosen: string, rejected: string): SamplePair {
  return {
    chosen: { kind: 'completion', prompt, completion: chosen },
    rejected: { kind: 'completion', prompt, completion: rejected },
  }
}

/** The longest text that both begin with, up to the last mark in it that an answer follows. */
function commonBeginning(a: string, b: string): string {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  // Not between the two halves of a character.
  const common = a.slice(0, length).toWellFormed() === a.slice(0, length) ? length : length - 1
  const mark = 'Assistant:'
  const last = a.slice(0, common).lastIndexOf(mark)
  return a.slice(0, last < 0 ? common : last + mark.length)
}

function readConversations(prompt: unknown, chosen: unknown, rejected: unknown): SamplePair {
  const asked = Array.isArray(prompt) ? readConversation('prompt', prompt) : undefined
  const better = answered('chosen', chosen, asked)
  const worse = answered('rejected', rejected, asked)
  if (!isEqual(better.slice(0, -1), worse.slice(0, -1))) {
    const expected = 'the same conversation as chosen but for its last message'
    throw invalidArgument('rejected', expected, rejected)
  }
  return {
    chosen: { kind: 'conversation', messages: better },
    rejected: { kind: 'conversation', messages: worse },
  }
}

/** The whole conversation: a column may leave the messages of the prompt out. */
function answered(
  name: string,
  value: unknown,
  prompt: readonly PlainMessage[] = [],
): readonly PlainMessage[] {
  const given = readConversation(name, value)
  const isWhole = isEqual(given.slice(0, prompt.length), prompt)
  const messages = isWhole ? given : [...prompt, ...given]
  if (messages.length > prompt.length && messages.at(-1)?.role === 'assistant') return messages
  throw invalidArgument(name, 'messages of which the last is an answer of the assistant', value)
}

function isEqual(a: readonly PlainMessage[], b: readonly PlainMessage[]): boolean {
  const isSame = ({ role, content }: PlainMessage, other: PlainMessage | undefined) =>
    role === other?.role && content === other.content
  return a.length === b.length && a.every((message, i) => isSame(message, b[i]))
}
