/** What a function that runs in a child process has in hand: the package, and what is here. */
import { readdirSync, readFileSync } from 'node:fs'
import { parentPort, Worker } from 'node:worker_threads'

export * from '../../lib/index.js'
export * from '../../lib/train/index.js'

/** What the process has: bytes of memory, and the most it had; bytes of addresses; threads; open files. */
export function usage() {
  if (process.platform !== 'linux') {
    return { memory: 0, peakMemory: 0, addresses: 0, threads: 0, files: 0 } // not known
  }
  const status = readFileSync('/proc/self/status', 'utf8')
  const read = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)![1])
  return {
    memory: 1024 * read('VmRSS'),
    peakMemory: 1024 * read('VmHWM'),
    addresses: 1024 * read('VmSize'),
    threads: read('Threads'),
    files: readdirSync('/proc/self/fd').length,
  }
}

/**
 * Does something 50 times, while V8 compiles what is used often, then 190 times more; what the process has
 * after each.
 */
export async function repeat(cycle: () => Promise<void>) {
  const after = async (cycles: number) => {
    const usages: ReturnType<typeof usage>[] = []
    for (let i = 0; i < cycles; i++) {
      await cycle()
      if (i < cycles - 5) continue
      globalThis.gc!()
      usages.push(usage())
    }
    // Garbage, and threads that are about to end, come and go; a leak stays.
    const least = (name: keyof ReturnType<typeof usage>) =>
      Math.min(...usages.map(usage => usage[name]))
    return { memory: least('memory'), threads: least('threads'), files: least('files') }
  }
  return { few: await after(50), many: await after(190) }
}

/** Runs a function in a worker, where it has the same in hand. It travels as text. */
export function startWorker<Args extends unknown[]>(
  body: (library: typeof import('./in-child.js'), ...args: Args) => unknown,
  ...args: Args
): Worker {
  const script = `
    import('${import.meta.url}').then(library => (${body})(library, ...${JSON.stringify(args)}))`
  return new Worker(script, { eval: true })
}

/** From a worker to the thread that started it. */
export function tell(message: unknown): void {
  parentPort?.postMessage(message)
}
