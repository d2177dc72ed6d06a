Symbol.dispose ??= Symbol('dispose')
Symbol.asyncDispose ??= Symbol('asyncDispose')
AbortSignal.any ??= signals => {
  const controller = new AbortController()
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason)
    signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  }
  return controller.signal
}
