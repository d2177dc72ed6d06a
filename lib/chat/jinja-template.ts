import { randomUUID } from 'node:crypto'
import { createContext, Script } from 'node:vm'
import { OpenELMError } from '../errors.js'
import type { Tokenizer } from '../tokenizer.js'
import type { ChatTemplate } from './template.js'

/** What a template may take of the clock, also on a busy machine; a usual one takes less than 1 ms. */
const limitMs = 1000

/** How often a template may take longer, which a pause of the whole machine can also cause. */
const maxTimeouts = 3

/**
 * The chat template of a checkpoint, in Jinja. Special tokens that the template itself writes become
 * tokens; those that a message spells out stay text.
 *
 * A template is a program of whoever made the checkpoint, and runs on the event loop. It reaches nothing
 * but its variables; it is ended after a second, and no longer run once that has happened three times.
 *
 * @param name of the template, for errors.
 * @param variables what the template may name beside `messages`, as transformers has it: `bos_token` and
 *   others.
 * @throws OpenELMError INVALID_TOKENIZER when it is no template.
 */
export async function jinjaTemplate(
  name: string,
  source: string,
  variables: Readonly<Record<string, string>>,
): Promise<ChatTemplate> {
  const { Template } = await import('@huggingface/jinja')
  const invalid = (cause: unknown) => {
    const message = `cannot use ${name}: ${(cause as Error).message}`
    return new OpenELMError('INVALID_TOKENIZER', message, { cause })
  }
  let template: InstanceType<typeof Template>
  try {
    template = withinLimit(() => new Template(source))
  } catch (cause) {
    throw invalid(cause)
  }
  let timeouts = 0
  return {
    render(messages, tokenizer, addGenerationPrompt) {
      const { specialTokens, bosTokenId, eosTokenId } = tokenizer
      const guard = new Guard([...specialTokens.keys()])
      const given = {
        bos_token: tokenizer.idToToken(bosTokenId) ?? '',
        eos_token: tokenizer.idToToken(eosTokenId) ?? '',
        ...variables,
        add_generation_prompt: addGenerationPrompt,
        messages: messages.map(({ role, content }) => ({ role, content: guard.protect(content) })),
      }
      const tooSlow = () => invalid(new Error(`it takes longer than ${limitMs} ms`))
      if (timeouts === maxTimeouts) throw tooSlow()
      try {
        return guard.split(
          withinLimit(() => template.render(given)),
          tokenizer,
        )
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
          timeouts++
          throw tooSlow()
        }
        const message = `${name} refuses the messages: ${(cause as Error).message}`
        throw new OpenELMError('INVALID_ARGUMENT', message, { cause })
      }
    },
    stopSequences: [],
  }
}

/** Keeps special tokens that messages spell out apart from those that a template writes. */
class Guard {
  /** Stands inside of such a spelling while the template is rendered. Nobody can know it before. */
  readonly #mark = `\u0002${randomUUID()}\u0002`
  readonly #spellings: readonly string[]

  constructor(spellings: readonly string[]) {
    this.#spellings = spellings.toSorted((a, b) => b.length - a.length)
  }

  /** Marks what is a special token, and what could become one with the text around the message. */
  protect(content: string): string {
    const isPartOf = (part: string) => this.#spellings.some(spelling => spelling.includes(part))
    const inner = content.trim()
    const begin = content.length - content.trimStart().length
    const marks = new Set<number>()
    for (const spelling of this.#spellings) {
      for (let at = content.indexOf(spelling); at >= 0; at = content.indexOf(spelling, at + 1)) {
        marks.add(at + 1)
      }
      for (let length = 1; length < spelling.length; length++) {
        if (inner.startsWith(spelling.slice(-length))) marks.add(begin)
        if (inner.endsWith(spelling.slice(0, length))) marks.add(begin + inner.length)
      }
    }
    if (inner !== '' && isPartOf(inner)) marks.add(begin + inner.length)
    let marked = ''
    let start = 0
    for (const mark of [...marks].sort((a, b) => a - b)) {
      marked += content.slice(start, mark) + this.#mark
      start = mark
    }
    return marked + content.slice(start)
  }

  /** Cuts a rendered text at the special tokens that it holds, and takes the marks away. */
  split(text: string, { specialTokens }: Tokenizer): (string | number)[] {
    if (this.#spellings.length === 0) return [text]
    const escaped = this.#spellings.map(spelling =>
      spelling.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'),
    )
    const pattern = new RegExp(`(${escaped.join('|')})`, 'u')
    const parts = text.split(pattern).map((part, i) => {
      return i % 2 === 1 ? specialTokens.get(part)! : part.replaceAll(this.#mark, '')
    })
    return parts.filter(part => part !== '')
  }
}

let context: { work?: () => unknown } | undefined
const callWork = new Script('work()')

/**
 * Interrupts what takes too long, which a function of this thread can only be by a script that calls it.
 */
function withinLimit<Result>(work: () => Result): Result {
  context ??= createContext({})
  context.work = work
  try {
    return callWork.runInContext(context, { timeout: limitMs }) as Result
  } finally {
    delete context.work
  }
}
