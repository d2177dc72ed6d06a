import { OpenELMError } from './errors.js'

/**
 * Runs a native call that `cancel` makes end soon. Once the signal is aborted the promise rejects with
 * its reason, and not before the call has ended: what it used may be used again.
 */
export async function abortable<Result>(
  signal: AbortSignal | undefined,
  start: () => { promise: Promise<Result>; cancel: () => void },
): Promise<Result> {
  signal?.throwIfAborted()
  const { promise, cancel } = start()
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    return await promise
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof Error ? error : new OpenELMError('INTERNAL', String(error))
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}
