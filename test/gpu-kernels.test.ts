import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

/**
 * The tests of the GPU kernels and of their hosts that need no Node: each op of each backend against a
 * float64 oracle, in several orders of the lanes; what the emulator must catch; the lint of the shaders.
 */
const run = promisify(execFile)
const folder = join(import.meta.dirname, '..', 'build', 'emulated', 'test', 'emulator')
const skip = !existsSync(folder) && 'there is no build/emulated: npm run build:emulated'

t.test('the GPU kernels, emulated', { skip }, async t => {
  const listed = await run('ctest', ['--test-dir', folder, '--show-only=json-v1'])
  const { tests } = JSON.parse(listed.stdout) as { tests: { name: string; command: string[] }[] }
  t.ok(tests.length > 0)
  t.jobs = 2
  for (const { name, command } of tests) {
    t.test(name, async t => {
      const [program, ...args] = command as [string, ...string[]]
      const { stdout } = await run(program, args, {
        cwd: folder,
        maxBuffer: 2 ** 26,
        timeout: 1_200_000,
      })
      t.pass(stdout.trim().split('\n').at(-1) ?? name)
    })
  }
})
