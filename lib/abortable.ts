import { OpenELMError } from './errors.js'

interface Waiting {
  readonly callbacks: Set<() => void>
  readonly listener: () => void
}

/** What waits for each signal. */
const waitingFor = new WeakMap<AbortSignal, Waiting>()

/**
 * Calls back once the signal is aborted, until the function that it returns is called. However many wait
 * for a signal, it has one listener: Node warns of a leak where a signal has more than ten.
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (!signal) return () => {}
  let waiting = waitingFor.get(signal)
  if (!waiting) {
    const callbacks = new Set<() => void>()
    waiting = { callbacks, listener: () => callbacks.forEach(call => void call()) }
    waitingFor.set(signal, waiting)
    signal.addEventListener('abort', waiting.listener)
  }
  const { callbacks, listener } = waiting
  const call = () => callback()
  callbacks.add(call)
  return () => {
    callbacks.delete(call)
    if (callbacks.size > 0 || waitingFor.get(signal)?.callbacks !== callbacks) return
    signal.removeEventListener('abort', listener)
    waitingFor.delete(signal)
  }
}

/**
 * Runs a native call that `cancel` makes end soon; once the signal is aborted the promise rejects with
 * its reason. What comes of a call that ended nevertheless goes to `discard`.
 */
export async function abortable<Result>(
  signal: AbortSignal | undefined,
  start: () => { promise: Promise<Result>; cancel: () => void },
  discard?: (result: Result) => Promise<void>,
): Promise<Result> {
  signal?.throwIfAborted()
  const { promise, cancel } = start()
  const forget = onAbort(signal, cancel)
  try {
    const result = await promise
    if (!signal?.aborted) return result
    await discard?.(result)
    throw signal.reason
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof Error ? error : new OpenELMError('INTERNAL', String(error))
  } finally {
    forget()
  }
}
