import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('case.mjs', import.meta.url))

/**
 * Runs case.mjs in a process of its own and returns what it printed. `prefix` is what to put before the
 * command, for example a `taskset`.
 */
export async function runCase(prefix, engine, kind, spec) {
  const [command, ...args] = [...prefix, process.execPath]
  const child = spawn(command, [...args, script, engine, kind, JSON.stringify(spec)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  if (child.exitCode !== 0) throw new Error(`${engine} ${kind} ended with ${child.exitCode}`)
  return JSON.parse(output)
}
