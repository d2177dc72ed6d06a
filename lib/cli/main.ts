#!/usr/bin/env node
import { debuglog } from 'node:util'
import { Command, CommanderError } from 'commander'
import { OpenELMError } from '../index.js'
import { average } from './average.js'
import { bench } from './bench.js'
import { chat } from './chat.js'
import { completion } from './completion.js'
import { convert } from './convert.js'
import { doctor } from './doctor.js'
import { evaluateCommand } from './evaluate.js'
import { explain } from './explain.js'
import { finetuneCommand } from './finetune.js'
import { generate } from './generate.js'
import { init } from './init.js'
import { inspect } from './inspect.js'
import { Interrupt } from './interrupt.js'
import { merge } from './merge.js'
import { note, noteLine } from './output.js'
import { perplexity } from './perplexity.js'
import { plot } from './plot.js'
import { pull } from './pull.js'
import { quantize } from './quantize.js'
import { serve } from './serve.js'
import { trainCommand } from './train.js'
import { version } from './version.js'

const debug = debuglog('openelm')

const program = new Command('openelm')
  .description("Run Apple's OpenELM language models")
  .version(version)
  .helpCommand(false)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => write(noteLine(text.replace(/^error: /, ''))),
  })
  .addHelpText(
    'after',
    `
Exit codes: 0 success, 1 failure, 2 wrong usage, 128 + n ended by signal n (130 by Ctrl-C).
NODE_DEBUG=openelm shows where an error came from.`,
  )
const commands = [
  generate,
  chat,
  serve,
  pull,
  inspect,
  perplexity,
  evaluateCommand,
  bench,
  init,
  quantize,
  convert,
  trainCommand,
  finetuneCommand,
  average,
  plot,
  merge,
  doctor,
  completion,
]
const help = new Command('help')
  .description('show the help of a command')
  .argument('[command]')
  .action((name?: string) => {
    const named = commands.find(command => command.name() === name)
    if (name !== undefined && !named) program.error(`unknown command '${name}'`)
    ;(named ?? program).help()
  })
for (const command of [...commands, help]) {
  program.addCommand(command.copyInheritedSettings(program))
}

/** The subcommand that runs; undefined before the arguments are parsed. */
let running: Command | undefined
program.hook('preAction', (_, command) => {
  running = command
})

// It is no error when the reader closes the pipe early, as in `openelm generate … | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : report(error))
})

// A closed standard error loses messages, but must not end a command that still has an answer to print.
process.stderr.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

/** Prints an error in one line, unless commander has printed it already, and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof Interrupt) return error.exitCode
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  debug('%s', error instanceof Error ? error.stack : error)
  note(explain(error, running))
  return error instanceof OpenELMError && error.code === 'INVALID_ARGUMENT' ? 2 : 1
}
