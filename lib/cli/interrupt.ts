/** Thrown when the user ends a command with Ctrl-C. */
export class Interrupt extends Error {}

/** Aborted by the first Ctrl-C; the second one then ends the process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController()
  process.once('SIGINT', () => controller.abort(new Interrupt('interrupted')))
  return controller.signal
}
