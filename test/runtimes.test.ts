/** The package on other runtimes than Node: `npm ci --prefix test/runtimes` installs them. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
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
const bun = installed('@oven', 'bun-linux-x64', 'bin', 'bun')
const deno = installed('@deno', 'linux-x64-glibc', 'deno')
const runtimes = [
  { name: 'Node', command: [process.execPath], terminations: 200 },
  { name: 'Bun', command: [bun], terminations: 300 },
  { name: 'Deno', command: [deno, 'run', '--allow-all'], terminations: 40 },
]
// OPENELM_TEST_TERMINATIONS=all for all of them; a tenth finds what happens now and then.
const share = process.env.OPENELM_TEST_TERMINATIONS === 'all' ? 1 : 1 / 10

const notInstalled = (name: string, file: string) =>
  existsSync(file) ? false : `${name} is not installed in test/runtimes`

function run([command, ...args]: readonly string[]) {
  return outcome(
    spawn(command!, args, {
      env: { ...process.env, OPENELM_ADDON: addon, NODE_OPTIONS: '' },
      timeout: 600_000,
      killSignal: 'SIGKILL',
    }),
  )
}

/** What the smoke script prints under Node. */
let smoke: string | undefined

for (const { name, command, terminations } of runtimes) {
  const skip = notInstalled(name, command[0]!)

  t.test(`everything once under ${name}`, { skip }, async t => {
    const script = join(import.meta.dirname, 'runtimes', 'smoke.mjs')
    const directory = join(scratch, name)
    mkdirSync(directory)
    const { code, stdout, stderr } = await run([...command, script, dist, directory])
    t.same({ code, stderr }, { code: 0, stderr: '' })
    smoke ??= stdout
    t.same(JSON.parse(stdout), JSON.parse(smoke), 'what Node prints')
  })

  t.test(`workers can be terminated under ${name}`, { skip }, async t => {
    const count = Math.ceil(terminations * share)
    const script = join(import.meta.dirname, 'runtimes', 'terminate-workers.mjs')
    const ended = await run([...command, script, join(dist, 'index.js'), tiny, String(count)])
    t.same(ended, { code: 0, stdout: `${count} terminated\n`, stderr: '' })
  })

  t.test(`the command line under ${name}`, { skip }, async t => {
    const main = join(dist, 'cli', 'main.js')
    const { code, stdout, stderr } = await run([...command, main, 'doctor', '--json'])
    t.same({ code, stderr }, { code: 0, stderr: '' })
    t.equal(JSON.parse(stdout).addon.path, addon)
    t.same(await run([...command, main, ...generate]), expected)
  })
}

t.test('what Deno must be allowed', { skip: notInstalled('Deno', deno) }, async t => {
  const allowed = ['ffi', 'read', 'env', 'sys'].map(name => `--allow-${name}`)
  const main = join(dist, 'cli', 'main.js')
  t.same(await run([deno, 'run', ...allowed, '--no-prompt', main, ...generate]), expected)
})

t.test('a program that Bun compiles', { skip: notInstalled('Bun', bun) }, async t => {
  const source = join(scratch, 'program.mjs')
  writeFileSync(
    source,
    `import { OpenELM } from './dist/index.js'
    await using model = await OpenELM.load(process.argv[2])
    const { text } = await model.generate('Hello', { maxTokens: 5 })
    console.log(text)`,
  )
  const program = join(scratch, 'program')
  t.match(await run([bun, 'build', '--compile', source, '--outfile', program]), { code: 0 })
  t.same(await run([program, tiny]), expected)
})
