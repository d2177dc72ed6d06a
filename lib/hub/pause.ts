import { setTimeout } from 'node:timers/promises'

/** Waits, but not longer than until the signal is aborted; then it is for the caller to look at that. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await setTimeout(ms, undefined, { ...(signal && { signal }) }).catch(() => {})
}
