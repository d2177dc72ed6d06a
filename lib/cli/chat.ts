import { createInterface } from 'node:readline/promises'
import { Command, Option } from 'commander'
import { OpenELMError } from '../errors.js'
import type { GenerateOptions } from '../generate.js'
import type { Conversation } from './conversation.js'
import { Interrupt, interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import { addOptions, integer, loadOptions, pick, samplerOptions } from './options.js'
import { note, print } from './output.js'

const answerOptions = [
  new Option('--max-tokens <n>', 'longest answer').argParser(integer(1)).default(512),
  ...samplerOptions,
]

export const chat = new Command('chat')
  .description('talk with an Instruct model')
  .option('--system <text>', 'what the conversation begins with')
  .addOption(
    new Option('--template <name>', 'how messages are marked; none leaves them as they are')
      .choices(['zephyr', 'none'])
      .default('zephyr'),
  )
  .addHelpText(
    'after',
    `
Ctrl-C stops an answer; a second Ctrl-C, Ctrl-D or /exit ends the conversation.
When the context is full, a new conversation begins.

Example:
  $ openelm chat -m OpenELM-3B-Instruct --repetition-penalty 1.2`,
  )
  .action(async (options, command: Command) => {
    if (options.template === 'none' && options.system !== undefined) {
      command.error('--system needs a template')
    }
    await using model = await loadModel(options, interruptSignal())
    const { Conversation } = await import('./conversation.js')
    await converse(new Conversation(model, options), pick(options, answerOptions))
  })
addOptions(chat, [...loadOptions, ...answerOptions])

/** Reads messages and prints answers until the user leaves. */
async function converse(conversation: Conversation, options: GenerateOptions): Promise<void> {
  const isTerminal = Boolean(process.stdin.isTTY && process.stdout.isTTY)
  const prompt = isTerminal ? '> ' : ''
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: isTerminal,
    prompt,
  })
  let isOpen = true
  lines.on('close', () => {
    isOpen = false
  })

  let answer: AbortController | undefined
  let isInterrupted = false
  const interrupt = () => {
    if (answer && !answer.signal.aborted) return answer.abort(new Interrupt())
    isInterrupted = true
    lines.close()
  }
  lines.on('SIGINT', interrupt) // when the terminal is in readline's hands
  process.on('SIGINT', interrupt)

  lines.prompt()
  for await (const line of lines) {
    const message = line.trim()
    if (isInterrupted || message === '/exit') break
    if (message !== '') {
      answer = new AbortController()
      await printAnswer(conversation, message, { ...options, signal: answer.signal })
      answer = undefined
    }
    if (isOpen) lines.prompt()
  }
  if (isTerminal && !isOpen) process.stdout.write('\n') // after the last prompt
  lines.close()
  if (isInterrupted) throw new Interrupt()
}

async function printAnswer(
  conversation: Conversation,
  message: string,
  options: GenerateOptions,
): Promise<void> {
  if (conversation.isFullFor(message)) {
    note('the context is full, a new conversation begins')
    conversation.restart()
  }
  try {
    for await (const text of conversation.say(message, options)) print(text)
  } catch (error) {
    const isTooLong = error instanceof OpenELMError && error.code === 'CONTEXT_OVERFLOW'
    if (isTooLong) note(error.message)
    else if (!(error instanceof Interrupt)) throw error
  } finally {
    process.stdout.write('\n')
  }
}
