import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addonPath, loadNative } from '../../../lib/native.js'
import { train } from '../../../lib/train/train.js'
import { launcherNames, skipWithout } from '../../helpers/mpi.js'
import { tinyRun } from '../../helpers/training.js'

const needsLinux = process.platform !== 'linux' && 'libraries have other names elsewhere'

t.test('each library is found and says what it is', { skip: needsLinux }, t => {
  const found = loadNative().mpiLibraries()
  for (const name of launcherNames) {
    t.test(name, { skip: skipWithout(name) }, t => {
      t.ok(
        found.some(({ version }) => version.startsWith(name)),
        JSON.stringify(found),
      )
      t.end()
    })
  }
  t.end()
})

t.test('what is no MPI library is refused', { skip: needsLinux }, async t => {
  const garbage = join(t.testdir(), 'libmpi.so')
  writeFileSync(garbage, 'no library')
  const code = 'DEPENDENCY_NOT_FOUND'
  for (const [path, message] of [
    [garbage, /libmpi\.so: file too short|invalid ELF/],
    ['/nowhere/libmpi.so', /\/nowhere\/libmpi\.so: cannot open/],
    ['libm.so.6', /libm\.so\.6 is no MPI library that is known here; it says of itself: nothing/],
  ] as const) {
    const run = train(tinyRun(join(t.testdirName, 'run'), { mpi: path }))
    await t.rejects(run.next(), { code, message })
  }
})

t.test('the addon needs no MPI', { skip: needsLinux }, t => {
  loadNative()
  const { stdout } = spawnSync('ldd', [addonPath()!], { encoding: 'utf8' })
  t.match(stdout, /libc\.so/)
  t.notMatch(stdout, /mpi/i)
  t.end()
})
