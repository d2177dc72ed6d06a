import { OpenELMError } from './errors.js'

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
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    const result = await promise
    if (!signal?.aborted) return result
    await discard?.(result)
    throw signal.reason
  } catch (error) {
    signal?.throwIfAborted()
    throw error instanceof Error ? error : new OpenELMError('INTERNAL', String(error))
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}
