/**
 * Asks for /health again and again, from a thread of its own, until it is told to stop; then it posts
 * the times in ms.
 */
import { setTimeout } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'

let stopped = false
parentPort.once('message', () => {
  stopped = true
})
const times = []
while (!stopped) {
  const start = performance.now()
  const { status } = await fetch(`${workerData}/health`)
  if (status !== 200) throw new Error(`/health answered ${status}`)
  times.push(performance.now() - start)
  await setTimeout(20)
}
parentPort.postMessage(times.sort((a, b) => a - b))
