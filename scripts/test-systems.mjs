// Compiles kernel-tests (see test/kernels) by Zig for every system that this machine is or can pretend to
// be, or for those of the platforms that the arguments name, runs it and counts:
//   node scripts/test-systems.mjs [linux-arm64 win32-x64 ...] [-- arguments of kernel-tests]
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { systems } from '../test/platforms/systems.mjs'
import { compile, compileEngine } from './zig/build-addon.mjs'
import { targets } from './zig/targets.mjs'
import { zig } from './zig/zig.mjs'

process.chdir(join(import.meta.dirname, '..'))
const end = process.argv.indexOf('--')
const names = process.argv.slice(2, end < 0 ? undefined : end)
const suites = end < 0 ? [] : process.argv.slice(end + 1)
const chosen = systems.filter(({ target }) => names.length === 0 || names.includes(target))
for (const system of chosen) {
  const absent = system.run.find(file => isAbsolute(file) && !existsSync(file))
  if (absent) {
    console.log(`${system.name}: not run, there is no ${absent}`)
    continue
  }
  const target = targets.find(({ name }) => name === system.target)
  report(system, await buildTests(target))
}

// With musl, threads of Node have stacks as small as these, where Zig gives 8 MB.
const smallStacks = ['-Wl,-z,stack-size=131072']

async function buildTests(target) {
  const folder = `build/zig/${target.name}`
  const tests = readdirSync('test/kernels')
    .filter(name => name.endsWith('.cc'))
    .map(name => `test/kernels/${name}`)
  // Where programs of Windows run by Wine look from, `/` is the same.
  const flags = ['-Inative', `-DTEST_DATA="${process.cwd()}/test/data"`]
  const objects = [
    ...(await compileEngine(target, folder)),
    ...(await compile(target, tests, folder, flags)),
  ]
  const isMusl = target.zig.endsWith('musl')
  const program = join(folder, target.os === 'win32' ? 'kernel-tests.exe' : 'kernel-tests')
  await zig(
    'c++',
    '-target',
    target.zig,
    '-O3',
    '-s',
    ...(isMusl ? smallStacks : []),
    '-o',
    program,
    ...objects,
  )
  return program
}

function report({ name, target, run, env }, program) {
  const start = performance.now()
  const [command, ...args] = [...run, program, ...suites]
  const { stdout, stderr, status, signal } = spawnSync(command, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  })
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  const lines = stdout.split(/\r?\n/)
  const failed = lines.filter(line => line.startsWith('not ok '))
  const passed = lines.filter(line => line.startsWith('ok ')).length
  for (const line of failed) console.log(line)
  if (status !== 0) {
    console.log(stderr)
    process.exitCode = 1
  }
  const ending = status === null ? `, ended by ${signal}` : ''
  console.log(
    `${name} (${target}): ${passed} passed, ${failed.length} failed${ending}, in ${seconds} s`,
  )
}
