import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'

const root = join(import.meta.dirname, '..')
const isWindows = process.platform === 'win32'

function run(cwd: string, command: string, ...args: string[]): string {
  const env = { ...process.env, OPENELM_ADDON: '' }
  return execFileSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    shell: isWindows,
    stdio: 'pipe',
  })
}

/** Of all files in a directory and below. */
function bytesBelow(directory: string): number {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter(entry => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
}

t.test('nothing runs when the package is installed', async t => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.equal(manifest.gypfile, false)
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    t.notOk(manifest.scripts[name], name)
  }
  // Yarn and pnpm compile a package that has this file at its root, whatever its manifest says.
  const [packed] = JSON.parse(run(root, 'npm', 'pack', '--dry-run', '--json', '--ignore-scripts'))
  const files: string[] = packed.files.map((file: { path: string }) => file.path)
  t.notOk(files.includes('binding.gyp'))
  t.ok(files.includes('native/binding.gyp'), 'from which build:native compiles it all the same')
})

t.test('it has at most six dependencies', async t => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  t.ok(Object.keys(dependencies).length <= 6, Object.keys(dependencies).join(', '))
})

t.test('the addon asks the system for little', { skip: process.platform !== 'linux' }, async t => {
  const addon = addonPaths(root).find(existsSync)!
  const symbols = run(root, 'nm', '-D', addon)
    .trim()
    .split('\n')
    .map(line => line.slice(17))
  const undefinedNames = symbols.filter(name => name.startsWith('U ')).map(name => name.slice(2))
  const system = /^napi_|@(GLIBC|GLIBCXX|CXXABI|GCC)_[\d.]+$/
  t.same(
    undefinedNames.filter(name => !system.test(name)),
    [],
    'only Node-API and the C and C++ libraries',
  )
  // Electron forbids external buffers, and a library never ends its process.
  const unwanted = /^(napi_create_external_|abort|exit|_exit|__assert_fail)/
  t.same(
    undefinedNames.filter(name => unwanted.test(name)),
    [],
  )
  t.same(symbols.filter(name => name.startsWith('T ')).sort(), [
    'T napi_register_module_v1',
    'T node_api_module_get_api_version_v1',
  ])

  const libraries = [...run(root, 'readelf', '-d', addon).matchAll(/\(NEEDED\).*\[(.+)\]/g)]
  const usual = /^(ld-linux-.*|lib(c|m|pthread|dl|gcc_s|stdc\+\+))\.so\.\d+$/
  t.same(
    libraries.map(match => match[1]!).filter(name => !usual.test(name)),
    [],
  )
})

const slow = !process.env.CI && 'it compiles a prebuild and installs from the registry; set CI=true'

t.test('the tarball installs and runs', { skip: slow }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'openelm-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))

  run(root, 'npm', 'run', 'prebuildify')
  const [packed] = JSON.parse(run(root, 'npm', 'pack', '--json', '--pack-destination', folder))
  t.ok(packed.size <= 9e6, `${packed.filename} has ${packed.size} bytes`)
  const files: string[] = packed.files.map((file: { path: string }) => file.path)
  t.ok(files.some(path => path.startsWith(`prebuilds/${process.platform}-${process.arch}/`)))
  t.ok(files.includes('LICENSE') && files.includes('README.md'))

  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  const tarball = join(folder, packed.filename)
  run(folder, 'npm', 'install', '--prefer-offline', tarball)
  t.notOk(existsSync(join(folder, 'node_modules', 'openelm', 'build')), 'nothing was compiled')
  const installed = bytesBelow(join(folder, 'node_modules'))
  t.ok(installed <= 15e6, `${installed} bytes installed, with all dependencies`)

  t.match(run(folder, 'npx', '--no', 'openelm', '--version'), /^\d+\.\d+\.\d+/)
  const body = `OpenELM.load('openelm-nano')
    .then(model => model.generate('Once', { maxTokens: 3, ignoreEos: true }))
    .then(({ usage }) => console.log(usage.completionTokens))`
  writeFileSync(join(folder, 'import.mjs'), `import { OpenELM } from 'openelm'\n${body}`)
  writeFileSync(join(folder, 'require.cjs'), `const { OpenELM } = require('openelm')\n${body}`)
  t.equal(run(folder, process.execPath, 'import.mjs'), '3\n')
  t.equal(run(folder, process.execPath, 'require.cjs'), '3\n')

  writeFileSync(
    join(folder, 'types.mts'),
    "import { OpenELM, type GenerateResult } from 'openelm'\n" +
      "const model: OpenELM = await OpenELM.load('folder')\n" +
      "export const result: GenerateResult = await model.generate('text', { maxTokens: 1 })\n",
  )
  const modules = join(root, 'node_modules')
  const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--types', 'node']
  const [tsc, types] = [join(modules, 'typescript', 'bin', 'tsc'), join(modules, '@types')]
  t.doesNotThrow(() =>
    run(folder, process.execPath, tsc, ...flags, '--typeRoots', types, 'types.mts'),
  )
})
