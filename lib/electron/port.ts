/**
 * One end of a message channel: a `MessagePort` of a page, of a worker or of `node:worker_threads`, or
 * Electron's `MessagePortMain`.
 */
export interface Port {
  /** Sends a copy of a message. */
  postMessage(message: unknown): void
  /** Ends the channel, for both ends. */
  close(): void
  /** Begins to deliver messages. */
  start?(): void
  /** Of event targets: the events are 'message' and 'close'. */
  addEventListener?(type: string, listener: (event: object) => void): void
  /** Of emitters, with the same events. */
  on?(type: string, listener: (event: object) => void): unknown
}

/** Hears what comes through a port, and that it is closed; where a port does not say so, nothing is heard. */
export function listen(
  port: Port,
  onMessage: (message: unknown) => void,
  onClose: () => void,
): void {
  const take = (event: object) => onMessage('data' in event ? event.data : undefined)
  // MessagePortMain is an emitter of events, the others are event targets.
  if (port.addEventListener) {
    port.addEventListener('message', take)
    port.addEventListener('close', onClose)
  } else {
    port.on?.('message', take)
    port.on?.('close', onClose)
  }
  port.start?.()
}
