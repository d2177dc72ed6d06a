import { invalidArgument } from '../errors.js'
import type { Message } from '../index.js'
import type { LanguageModelV3CallOptions } from './specification.js'

/**
 * The messages of a prompt. What a model thought before it answered is left out.
 *
 * @throws OpenELMError INVALID_ARGUMENT for files, and for the calls of tools and their results.
 */
export function readPrompt(prompt: LanguageModelV3CallOptions['prompt']): Message[] {
  return prompt.map(({ role, content }, i) => {
    const name = `prompt[${i}]`
    if (role === 'tool')
      throw invalidArgument(`${name}.role`, 'one that takes part in a chat', role)
    if (typeof content === 'string') return { role, content }
    const texts = content
      .filter(({ type }) => type !== 'reasoning')
      .map(({ type, text = '' }, k) => {
        if (type !== 'text') throw invalidArgument(`${name}.content[${k}].type`, '"text"', type)
        return text
      })
    return { role, content: texts.join('') }
  })
}
