/** The package on other runtimes than Node: `npm ci --prefix test/runtimes` installs them. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'
import { compileCli, outcome } from './helpers/compiled-cli.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const root = join(import.meta.dirname, '..')
const scratch = t.testdir()
const start = compileCli(scratch)
const dist = join(scratch, 'dist')
const tiny = writeTinyModel(join(scratch, 'tiny'))
const addon = process.env.OPENELM_ADDON || addonPaths(root).find(existsSync)
const generate = ['generate', '-m', tiny, '--max-tokens', '5', '--temperature', '0', 'Hello']
const expected = await outcome(start(...generate))

const installed = (...path: string[]) => join(root, 'test', 'runtimes', 'node_modules', ...path)
const deno = installed('@deno', 'linux-x64-glibc', 'deno')
const runtimes = [
  { name: 'Node', command: [process.execPath], terminations: 200 },
  { name: 'Bun', command: [installed('@oven', 'bun-linux-x64', 'bin', 'bun')], terminations: 300 },
  { name: 'Deno', command: [deno, 'run', '--allow-all'], terminations: 40 },
]
// OPENELM_TEST_TERMINATIONS=all for all of them; a tenth finds what happens now and then.
const share = process.env.OPENELM_TEST_TERMINATIONS === 'all' ? 1 : 1 / 10

for (const { name, command, terminations } of runtimes) {
  const skip = existsSync(command[0]!) ? false : `${name} is not installed in test/runtimes`
  const run = (...args: string[]) =>
    outcome(
      spawn(command[0]!, [...command.slice(1), ...args], {
        env: { ...process.env, OPENELM_ADDON: addon, NODE_OPTIONS: '' },
        timeout: 600_000,
        killSignal: 'SIGKILL',
      }),
    )

  t.test(`workers can be terminated under ${name}`, { skip }, async t => {
    const count = Math.ceil(terminations * share)
    const script = join(import.meta.dirname, 'runtimes', 'terminate-workers.mjs')
    const ended = await run(script, join(dist, 'index.js'), tiny, String(count))
    t.same(ended, { code: 0, stdout: `${count} terminated\n`, stderr: '' })
  })

  t.test(`the command line under ${name}`, { skip }, async t => {
    const main = join(dist, 'cli', 'main.js')
    const { code, stdout, stderr } = await run(main, 'doctor', '--json')
    t.same({ code, stderr }, { code: 0, stderr: '' })
    t.equal(JSON.parse(stdout).addon.path, addon)
    t.same(await run(main, ...generate), expected)
  })
}
