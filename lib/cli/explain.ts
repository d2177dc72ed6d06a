import type { Command } from 'commander'
import { OpenELMError } from '../index.js'

/** What went wrong, with the options of the API under the names that they have in a command. */
export function explain(error: unknown, command: Command | undefined): string {
  if (!(error instanceof OpenELMError))
    return error instanceof Error ? error.message : String(error)
  const argument = error.argument?.replace(/^options\./, '').replace(/\[\d+\]$/, '')
  let { message } = error
  for (const option of command?.options ?? []) {
    const name = option.attributeName()
    if (name === argument) message = message.replaceAll(error.argument!, option.long!)
    // One of several words joined is nothing but a name.
    else if (/[A-Z]/.test(name))
      message = message.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), option.long!)
  }
  return `${message} [${error.code}]`
}
