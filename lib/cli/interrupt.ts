/** Thrown when the user ends a command with Ctrl-C. */
export class Interrupt extends Error {}

const controller = new AbortController()
let isListening = false

/** Aborted by the first Ctrl-C; the second one then ends the process at once. */
export function interruptSignal(): AbortSignal {
  if (!isListening) {
    process.once('SIGINT', () => controller.abort(new Interrupt('interrupted')))
    isListening = true
  }
  return controller.signal
}
