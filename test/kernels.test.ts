import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'

/**
 * Builds and runs the tests of test/kernels, each of whose cases is an assertion here: on this
 * processor's best kernels, and what differs on the others. The build of the emulated GPUs has them,
 * too, where it is: gpu-kernels.test.ts runs the rest of it. scripts/test-sanitized.sh and
 * scripts/test-arm64.sh run them elsewhere.
 */
const root = join(import.meta.dirname, '..')
const emulated = join(root, 'build', 'emulated')
const build = existsSync(emulated) ? emulated : join(root, 'build', 'tests')

function run(command: string, args: string[], env?: NodeJS.ProcessEnv) {
  return spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 1_200_000,
    killSignal: 'SIGKILL',
  })
}

/** The program prints 'ok name' or 'not ok name: why' for each case. */
function assertCases(t: Test, args: string[], env?: NodeJS.ProcessEnv) {
  const { stdout, stderr, status, signal } = run(join(build, 'kernel-tests'), args, env)
  const cases = [...stdout.matchAll(/^(not )?ok (.+)$/gm)]
  for (const [, failed, name] of cases) t.ok(!failed, name!)
  t.ok(cases.length > 0, 'there are cases')
  t.same({ status, signal }, { status: 0, signal: null }, `it ends well ${stderr}`)
}

// Where everything must hold, a missing compiler is a failure.
const skip =
  !process.env.CI && run('cmake', ['--version']).error !== undefined && 'there is no cmake'

t.test('the kernels', { skip }, async t => {
  const alone = ['-D', 'OPENELM_TESTS=ON', '-D', 'NVCC=OFF', '-D', 'CMAKE_BUILD_TYPE=Release']
  const [options, backends] = build === emulated ? [[], ['--backend=cpu']] : [alone, []]
  const configured = run('cmake', ['-S', root, '-B', build, ...options])
  if (!process.env.CI && /No CMAKE_CXX_COMPILER could be found/.test(configured.stderr)) {
    return t.pass('it builds', { skip: 'there is no C++ compiler' })
  }
  const target = ['--target', 'kernel-tests', '--config', 'Release', '--parallel', '2']
  const built = run('cmake', ['--build', build, ...target])
  if (!t.equal(built.status, 0, 'it builds')) {
    return t.comment(configured.stderr, built.stdout, built.stderr)
  }
  const training = ['adapted-layer', 'gradients', 'training']
  assertCases(t, backends)
  assertCases(t, [...backends, 'load', 'ops', ...training], { OPENELM_CPU_KERNELS: 'scalar' })
  assertCases(t, [...backends, ...training], { OPENELM_CPU_KERNELS: 'avx2' })
})
