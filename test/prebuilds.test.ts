/** What `npm run prebuilds` makes of the addon for other systems, as far as it has made it. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'

const root = join(import.meta.dirname, '..')
const load = (name: string) => import(join(root, 'scripts', 'zig', name))
const { targets } = await load('targets.mjs')
const { prebuildFaults } = await load('prebuild-faults.mjs')
const { readBinary } = await load('read-binary.mjs')
const { readGyp } = await load('gyp.mjs')
const { writeMacLibraries } = await load('mac-libraries.mjs')
const { writeNodeApi } = await load('node-api-windows.mjs')

for (const target of targets) {
  const file = join(root, 'build', 'prebuilds', target.file)
  const skip = !existsSync(file) && 'npm run prebuilds has not made it'
  t.test(`the prebuild for ${target.name} wants little of a system`, { skip }, async t => {
    t.same(prebuildFaults(target, readFileSync(file)), [])
  })
}

const addon = addonPaths(root).find(existsSync)!
const skip = process.platform !== 'linux' && 'there is no ELF here'

t.test('what an addon wants is read as readelf reads it', { skip }, async t => {
  const binary = readBinary(readFileSync(addon))
  const text = execFileSync('readelf', ['--wide', '--dyn-syms', '--dynamic', addon]).toString()
  const undefinedNames = [...text.matchAll(/ UND (\w+)(@|\s)/g)].map(match => match[1])
  const libraries = [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(match => match[1])
  t.same(binary.imports.map(({ name }: { name: string }) => name).sort(), undefinedNames.sort())
  t.same(binary.libraries, libraries)
  t.ok(binary.exports.includes('napi_register_module_v1'))
})

t.test('a release has a package for each platform', async t => {
  const { platformManifest, withPlatformPackages } = await import(
    join(root, 'scripts', 'platform-packages.mjs')
  )
  const repository = { type: 'git', url: 'git+https://example.com/a/b.git' }
  const manifest = { ...JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')), repository }
  const stamped = withPlatformPackages(manifest)
  const packages = targets.map((target: object) => platformManifest(manifest, target))
  t.same(
    stamped.optionalDependencies,
    Object.fromEntries(packages.map(({ name }: { name: string }) => [name, manifest.version])),
  )
  t.notOk(stamped.files.includes('prebuilds'))
  t.same(
    manifest.files.filter((name: string) => !stamped.files.includes(name)),
    ['prebuilds'],
  )
  t.match(packages[1], {
    name: 'openelm-linux-x64-musl',
    version: manifest.version,
    repository,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['musl'],
    files: ['node.napi.musl.node'],
  })
  t.notOk(packages.at(-1).libc, 'which macOS has one of')
  const [name, file] = addonPaths('/app').at(-1)!.split(/[\\/]/).slice(-2)
  const own = packages.find((each: { name: string }) => each.name === name)
  t.same(own?.files, [file], 'the addon is looked for where it is')
})

t.test('an addon of a compiler of this system has faults', { skip }, async t => {
  const target = targets.find(({ name }: { name: string }) => name === 'linux-x64')
  const faults: string[] = prebuildFaults(target, readFileSync(addon))
  t.ok(
    faults.some(fault => /libstdc\+\+/.test(fault)),
    'it has the C++ library of the system',
  )
})

t.test('all is compiled as binding.gyp says', async t => {
  const { flags, libraries } = readGyp('darwin')
  const expected = ['-std=c++20', '-ffp-contract=off', '-fvisibility=hidden', '-DNAPI_VERSION=9']
  t.same(
    expected.filter(flag => !flags.includes(flag)),
    [],
  )
  const frameworks = ['Metal', 'Foundation', 'CoreGraphics']
  t.same(libraries, [...frameworks.flatMap(name => ['-framework', name]), '-lobjc'])
  t.ok(readGyp('win32').flags.includes('-DNOMINMAX'))

  const folder = t.testdir()
  writeMacLibraries(folder)
  const stubs = [...frameworks.map(name => join(`${name}.framework`, `${name}.tbd`)), 'libobjc.tbd']
  const known = stubs.map(stub => readFileSync(join(folder, stub), 'utf8')).join()
  const headers = ['mtl.h', 'objc.h'].map(name => join(root, 'native', 'metal', name))
  const declared = headers.map(header => readFileSync(header, 'utf8')).join()
  const called: string[] = declared.match(/\b(MTL|objc_|sel_)\w+(?=\([^)]*\);)/g) ?? []
  t.ok(called.includes('MTLCreateSystemDefaultDevice') && called.includes('objc_msgSend'))
  t.same(
    called.filter(name => !new RegExp(`\\b_${name}\\b`).test(known)),
    [],
    'the linker knows all that Metal is used by',
  )
})

t.test('on Windows all functions of Node-API that the addon calls are looked up', async t => {
  for (const arch of ['x64', 'arm64']) {
    const file = join(t.testdir(), `${arch}.S`)
    writeNodeApi(file, arch)
    const text = readFileSync(file, 'utf8')
    const found = new Set([...text.matchAll(/^(\w+):$/gm)].map(match => match[1]))
    const names = [...text.matchAll(/\.asciz "(\w+)"/g)].map(match => match[1])
    t.ok(names.length > 100)
    t.same(
      names.filter(name => !found.has(name)),
      [],
    )
    const called = readBinary(readFileSync(addon)).imports.map(({ name }: { name: string }) => name)
    t.same(
      called.filter((name: string) => /^(napi|node_api)_/.test(name) && !found.has(name)),
      [],
    )
  }
})
