import { constants } from 'node:os'

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const
const usual = signals.filter(name => name !== 'SIGUSR2')

/** Thrown when a signal ends a command: Ctrl-C, a request to end, or a terminal that is closed. */
export class Interrupt extends Error {
  /** The exit code that shells give a program that was ended by this signal: 128 + its number. */
  readonly exitCode: number

  constructor(signal: (typeof signals)[number] = 'SIGINT') {
    super('interrupted')
    this.exitCode = 128 + constants.signals[signal]
  }
}

const controller = new AbortController()
let isListening = false

/**
 * Aborted by the first signal that ends a process; the second one then ends it at once.
 *
 * @param withUsr2 whether SIGUSR2 is one of them, with which schedulers warn of their end.
 */
export function interruptSignal(withUsr2 = false): AbortSignal {
  if (!isListening) {
    const heard = withUsr2 ? signals : usual
    const end = (signal: NodeJS.Signals) => {
      for (const name of heard) process.off(name, end)
      controller.abort(new Interrupt(signal as (typeof signals)[number]))
    }
    for (const name of heard) process.on(name, end)
    isListening = true
  }
  return controller.signal
}
