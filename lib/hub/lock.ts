import { randomUUID } from 'node:crypto'
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { ioError } from '../files.js'
import { pause } from './pause.js'

const touchMs = 5_000
const staleMs = 30_000
const waitMs = 100

/**
 * Does work while this process alone, of those that ask for the same lock, does. The lock is a file that
 * holds who has it; one whose owner has ended, or has not touched it for 30 s, is taken away.
 *
 * @throws OpenELMError IO_ERROR; the reason of the signal; or whatever `work` throws.
 */
export async function withLock<Result>(
  file: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  const owner = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() })
  while (!(await take(file, owner))) {
    signal?.throwIfAborted()
    if (await isStale(file)) await takeAway(file, signal)
    else await pause(waitMs, signal)
  }
  const touch = setInterval(() => {
    const now = new Date()
    void utimes(file, now, now).catch(() => {})
  }, touchMs)
  try {
    return await work()
  } finally {
    clearInterval(touch)
    if ((await readFile(file, 'utf8').catch(() => '')) === owner) await rm(file, { force: true })
  }
}

async function take(file: string, owner: string): Promise<boolean> {
  try {
    await writeFile(file, owner, { flag: 'wx' })
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw ioError('write', file, cause)
  }
}

async function isStale(file: string): Promise<boolean> {
  const stats = await stat(file).catch(() => undefined)
  if (stats === undefined) return false // it has just been given back
  if (Date.now() - stats.mtimeMs > staleMs) return true
  try {
    const { pid, host } = JSON.parse(await readFile(file, 'utf8'))
    return host === hostname() && !isRunning(pid)
  } catch {
    return false // it is being written
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** One at a time, and each looks again: by now the lock may be that of another who waited. */
async function takeAway(file: string, signal: AbortSignal | undefined): Promise<void> {
  await withLock(`${file}.stale`, signal, async () => {
    if (await isStale(file)) await rm(file, { force: true })
  })
}
