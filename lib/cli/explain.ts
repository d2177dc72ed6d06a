import type { Command } from 'commander'
import { OpenELMError } from '../index.js'

/** The message of an error, with the names of a command's flags in place of those of the API's options. */
export function explain(error: unknown, command: Command | undefined): string {
  if (!(error instanceof OpenELMError))
    return error instanceof Error ? error.message : String(error)
  const argument = error.argument?.replace(/^options\./, '').replace(/\[\d+\]$/, '')
  let { message } = error
  for (const option of command?.options ?? []) {
    const name = option.attributeName()
    if (name === argument) message = message.replaceAll(error.argument!, option.long!)
    // A name in camel case cannot be an ordinary word of the message.
    else if (/[A-Z]/.test(name))
      message = message.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), option.long!)
  }
  return `${message} [${error.code}]`
}
