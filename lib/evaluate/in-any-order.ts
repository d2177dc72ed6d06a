/**
 * Gives each worker one item after another, and yields what becomes of them as it is ready. Once it is
 * left, by an error or by its consumer, `abort` is called, and every worker has ended.
 */
export async function* inAnyOrder<Worker, Item, Result>(
  workers: readonly Worker[],
  items: readonly Item[],
  work: (worker: Worker, item: Item) => Promise<Result>,
  abort: () => void,
): AsyncGenerator<Result, void> {
  const left = items.values()
  const running = new Map<Worker, Promise<{ worker: Worker; result: Result }>>()
  const start = (worker: Worker) => {
    const { done, value } = left.next()
    if (done) return
    const promise = work(worker, value).then(result => ({ worker, result }))
    // It may fail while nobody looks, and is looked at later.
    promise.catch(() => {})
    running.set(worker, promise)
  }
  try {
    workers.forEach(start)
    while (running.size > 0) {
      const { worker, result } = await Promise.race(running.values())
      running.delete(worker)
      start(worker)
      yield result
    }
  } finally {
    abort()
    await Promise.allSettled(running.values())
  }
}
