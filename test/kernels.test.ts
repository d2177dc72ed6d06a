import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'

/**
 * Builds and runs the tests of test/kernels, each of whose cases is an assertion here: on this
 * processor's best kernels and on the portable ones, and then, where the tools are there, on an
 * emulated ARM processor.
 */
const root = join(import.meta.dirname, '..')
const build = join(root, 'build', 'tests')

function run(command: string, args: string[], env?: NodeJS.ProcessEnv) {
  return spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } })
}

function lacks(...commands: string[]): string | false {
  const missing = commands.filter(command => run(command, ['--version']).error)
  return missing.length > 0 && `not installed: ${missing.join(', ')}`
}

/** The program prints 'ok name' or 'not ok name: why' for each case. */
function assertCases(t: Test, { stdout, stderr, status, signal }: ReturnType<typeof run>) {
  const cases = [...stdout.matchAll(/^(not )?ok (.+)$/gm)]
  for (const [, failed, name] of cases) t.ok(!failed, name!)
  t.ok(cases.length > 0, 'there are cases')
  t.same({ status, signal }, { status: 0, signal: null }, `it ends well ${stderr}`)
}

t.test('on this processor', { skip: lacks('cmake') }, async t => {
  const options = ['-D', 'OPENELM_TESTS=ON', '-D', 'NVCC=OFF', '-D', 'CMAKE_BUILD_TYPE=Release']
  const configured = run('cmake', ['-S', root, '-B', build, ...options])
  if (/No CMAKE_CXX_COMPILER could be found/.test(configured.stderr)) {
    return t.pass('it builds', { skip: 'there is no C++ compiler' })
  }
  const target = ['--target', 'kernel-tests', '--config', 'Release', '--parallel', '2']
  const built = run('cmake', ['--build', build, ...target])
  if (!t.equal(built.status, 0, 'it builds')) {
    return t.comment(configured.stderr, built.stdout, built.stderr)
  }
  const program = join(build, 'kernel-tests')
  assertCases(t, run(program, []))
  const training = ['gradients', 'training']
  assertCases(t, run(program, ['load', 'ops', ...training], { OPENELM_CPU_KERNELS: 'scalar' }))
  assertCases(t, run(program, training, { OPENELM_CPU_KERNELS: 'avx2' }))
})

const cannotEmulate =
  process.arch !== 'x64' || process.platform !== 'linux'
    ? 'it needs Linux on x86-64'
    : lacks('cmake', 'aarch64-linux-gnu-g++', 'qemu-aarch64') ||
      (!process.env.CI && 'it takes minutes; set CI=true')

// The presets would take as long again, and their widths matter to no instruction set in particular.
const emulated = [
  ...'half elementwise matmul attention quantize thread-pool'.split(' '),
  ...'load ops invariance scheduler gradients training'.split(' '),
]

t.test('on an emulated ARM processor', { skip: cannotEmulate }, async t => {
  assertCases(t, run(join(root, 'scripts', 'test-arm64.sh'), emulated))
})
