import { withSystem } from '../../chat/encode-chat.js'
import { zephyr } from '../../chat/template.js'
import { invalidArgument } from '../../errors.js'
import type { Tokenizer } from '../../tokenizer.js'
import { prompts } from './prompts.js'
import { conversationOf, type Sample } from './sample.js'

/** Zephyr's is the template that Apple tuned the Instruct models with. */
export const templateNames = ['zephyr', 'alpaca', 'commonsense', 'none'] as const
export type TemplateName = (typeof templateNames)[number]

export interface RenderOptions {
  readonly template: TemplateName
  /** What a conversation begins with that has no system message of its own. Null for nothing. */
  readonly system: string | null
  /** Whether all answers of a conversation are learnt, or only the last. */
  readonly answers: 'all' | 'last'
}

/** A text, encoded on its own, whose characters from `learntFrom` on are learnt; or a token. */
export type Part =
  | { readonly text: string; readonly learntFrom: number }
  | { readonly token: number; readonly isLearnt: boolean }

/**
 * A sample as a template puts it before the model: what follows BOS, up to the token that ends the last
 * message. Nothing that a row says becomes a special token.
 *
 * @throws OpenELMError INVALID_ARGUMENT when the template has no such samples.
 */
export function renderSample(sample: Sample, tokenizer: Tokenizer, options: RenderOptions): Part[] {
  if (sample.kind !== 'text' && options.template === 'zephyr') {
    return zephyrParts(sample, tokenizer, options)
  }
  const [prompt, answer] = promptAndAnswer(sample, options.template)
  return [
    { text: prompt + answer, learntFrom: prompt.length },
    { token: tokenizer.eosTokenId, isLearnt: true },
  ]
}

/** The system message of conversations that have none, where the caller says nothing of it. */
export function defaultSystemOf(template: TemplateName): string | null {
  return template === 'zephyr' ? zephyr.defaultSystem! : null
}

function zephyrParts(
  sample: Exclude<Sample, { kind: 'text' }>,
  tokenizer: Tokenizer,
  { system, answers }: RenderOptions,
): Part[] {
  const defaults = system === null ? {} : { defaultSystem: system }
  const messages = withSystem(defaults, conversationOf(sample))
  const last = messages.findLastIndex(({ role }) => role === 'assistant')
  // A text and a token for each message, and a line break. A text ends in what its message says.
  const rendered = zephyr.render(messages, tokenizer, false).slice(0, -1)
  return rendered.map((part, i): Part => {
    const index = Math.floor(i / 2)
    const { role, content } = messages[index]!
    const isLearnt = role === 'assistant' && (answers === 'all' || index === last)
    if (typeof part === 'number') return { token: part, isLearnt }
    return { text: part, learntFrom: part.length - (isLearnt ? content.length : 0) }
  })
}

/**
 * A sample in a template that knows no turns, or of plain text, which needs no template.
 *
 * @throws OpenELMError INVALID_ARGUMENT when the template has no such samples.
 */
export function promptAndAnswer(
  sample: Sample,
  template: TemplateName,
): [prompt: string, answer: string] {
  if (sample.kind === 'text') return ['', sample.text]
  const system = sample.kind === 'instruction' ? sample.system : undefined
  if (sample.kind === 'conversation' || system !== undefined || template === 'zephyr') {
    const expected = 'zephyr: no other template has conversations and system messages'
    throw invalidArgument('the template', expected, template)
  }
  const prompt = prompts[template]
  if (sample.kind === 'completion') return [prompt(sample.prompt, ''), sample.completion]
  const { instruction, input, output } = sample
  // CoreNet normalises what it reads.
  const clean = (text: string) => (template === 'commonsense' ? text.normalize('NFC') : text)
  return [clean(prompt(instruction, input)), clean(output)]
}
