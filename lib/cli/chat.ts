import { on } from 'node:events'
import { createInterface } from 'node:readline'
import { Command, Option } from 'commander'
import { type Chat, checkGenerateOptions, type GenerateOptions, OpenELMError } from '../index.js'
import { draftModelOption, draftOptions, loadDraftModel } from './draft-options.js'
import { Interrupt, interruptSignal } from './interrupt.js'
import { loadModel } from './load-model.js'
import {
  addOptions,
  loadOptions,
  modelOption,
  namedModel,
  numeric,
  pick,
  samplerOptions,
} from './options.js'
import { note, print } from './output.js'
import { joinPastedLines } from './pasted-lines.js'

const answerOptions = [
  numeric('--max-tokens <n>', 'longest answer').default(512),
  ...samplerOptions,
  ...draftOptions,
]

export const chat = new Command('chat')
  .description('talk with an Instruct model')
  .argument('[model]', 'the same as -m')
  .option('--system <text>', 'what the conversation begins with')
  .addOption(
    new Option(
      '--template <name>',
      "how messages are marked; none leaves them as they are (default: the model's own, or zephyr)",
    ).choices(['zephyr', 'none']),
  )
  .addHelpText(
    'after',
    `
Ctrl-C stops an answer; a second Ctrl-C, Ctrl-D or /exit ends the conversation.
Lines that are pasted into a terminal together are one message, which Enter sends.
When the context is full, the oldest messages are forgotten.

Example:
  $ openelm chat OpenELM-3B-Instruct --repetition-penalty 1.2`,
  )
  .action(async (argument: string | undefined, options, command: Command) => {
    if (options.template === 'none' && options.system !== undefined) {
      command.error('--system needs a template')
    }
    const answering = pick(options, answerOptions)
    checkGenerateOptions(answering)
    const source = namedModel(argument, options, command)!
    const signal = interruptSignal()
    await using model = await loadModel(source, options, signal, { chatTemplate: options.template })
    await using draftModel = await loadDraftModel(options, signal)
    const { system } = options
    const chat = model.createChat(
      system === undefined ? {} : { messages: [{ role: 'system', content: system }] },
    )
    await converse(chat, { ...answering, draftModel })
  })
addOptions(chat, [modelOption, draftModelOption, ...loadOptions, ...answerOptions])

/** Reads messages and prints answers until the user leaves. */
async function converse(chat: Chat, options: GenerateOptions): Promise<void> {
  const isTerminal = Boolean(process.stdin.isTTY && process.stdout.isTTY)
  const prompt = isTerminal ? '> ' : ''
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: isTerminal,
    prompt,
  })
  joinPastedLines(lines)
  const messages = on(lines, 'message', { close: ['close'] })
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

  try {
    lines.prompt()
    for await (const [text] of messages) {
      const message = text.trim()
      if (isInterrupted || message === '/exit') break
      if (message !== '') {
        answer = new AbortController()
        await printAnswer(chat, message, { ...options, signal: answer.signal })
        answer = undefined
      }
      if (isOpen) lines.prompt()
    }
    if (isTerminal && !isOpen) process.stdout.write('\n') // after the last prompt
  } finally {
    lines.close()
  }
  if (isInterrupted) throw new Interrupt()
}

async function printAnswer(chat: Chat, message: string, options: GenerateOptions): Promise<void> {
  const before = chat.messages.length
  let isAnswered = false
  try {
    for await (const { text } of chat.stream(message, options)) {
      print(text)
      isAnswered = true
    }
  } catch (error) {
    const isTooLong = error instanceof OpenELMError && error.code === 'CONTEXT_OVERFLOW'
    if (isTooLong) note(error.message)
    else if (!(error instanceof Interrupt)) throw error
  } finally {
    process.stdout.write('\n')
  }
  const isForgetful = isAnswered && chat.messages.length < before + 2
  if (isForgetful) note('the context was full: the oldest messages are forgotten')
}
