import { constants } from 'node:os'

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

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

/** Aborted by the first signal that ends a process; the second one then ends it at once. */
export function interruptSignal(): AbortSignal {
  if (!isListening) {
    const end = (signal: NodeJS.Signals) => {
      for (const name of signals) process.off(name, end)
      controller.abort(new Interrupt(signal as (typeof signals)[number]))
    }
    for (const name of signals) process.on(name, end)
    isListening = true
  }
  return controller.signal
}
