import { existsSync, realpathSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import t from 'tap'
import { bundledModel } from '../lib/bundled-models.js'
import { addonPaths, loadNative, openAddon } from '../lib/native.js'
import { packageRoot, unpacked } from '../lib/package-root.js'

const root = join(import.meta.dirname, '..')

t.test('the addon is opened once', async t => {
  const addon = loadNative()
  t.type(addon.initialize, 'function')
  t.equal(loadNative(), addon)
})

const platform = `${process.platform}-${process.arch}`

t.test('a build comes before a prebuild', async t => {
  const paths = addonPaths('/app')
  const folders = paths.map(path => dirname(path))
  t.same(folders.slice(0, 3), [
    join('/app', 'build', 'Release'),
    join('/app', 'build', 'cmake'),
    join('/app', 'prebuilds', platform),
  ])
  t.equal(folders.length, 4)
  t.ok(folders[3]!.startsWith(resolve(`/openelm-${platform}`)), 'the package of this platform')
  t.match(paths.at(-1), /node\.napi(\.armv8)?(\.musl)?\.node$/)
})

t.test('a prebuild is found where a package manager has put its package', async t => {
  const [folder, file] = addonPaths('/app').at(-1)!.split(/[\\/]/).slice(-2)
  const addon = () => ({ [folder!]: { [file!]: '' } })
  const modules = realpathSync(
    t.testdir({
      npm: { node_modules: { ...addon(), openelm: {} } },
      hoisted: { node_modules: addon(), packages: { app: { node_modules: { openelm: {} } } } },
    }),
  )
  const found = (...path: string[]) =>
    relative(modules, addonPaths(join(modules, ...path, 'node_modules', 'openelm')).at(-1)!)
  t.equal(found('npm'), join('npm', 'node_modules', folder!, file!))
  t.equal(found('hoisted', 'packages', 'app'), join('hoisted', 'node_modules', folder!, file!))
})

t.test('inside an Electron archive, the addon is in the folder beside it', async t => {
  const expected = join('/app.asar.unpacked', 'node_modules', 'openelm', 'build', 'Release')
  for (const archive of ['/app.asar', '/app.asar.unpacked']) {
    t.equal(dirname(addonPaths(`${archive}/node_modules/openelm`)[0]!), expected)
  }
  t.equal(dirname(addonPaths('/my-app.asar-tools')[0]!), join('/my-app.asar-tools/build/Release'))
})

t.test(
  'the package is found wherever modules have a URL, and else an error says what to do',
  async t => {
    t.equal(resolve(packageRoot()), root)
    for (const url of [undefined, '', 'https://cdn.example/openelm.js']) {
      const find = () => packageRoot(url ?? 'undefined')
      t.throws(find, { code: 'ADDON_NOT_FOUND', message: /leave openelm out of the bundle/ })
    }
  },
)

t.test('so is the bundled model', async t => {
  const module = join('/app.asar', 'node_modules', 'openelm', 'dist')
  t.equal(unpacked(module), join('/app.asar.unpacked', 'node_modules', 'openelm', 'dist'))
  t.ok(existsSync(bundledModel('openelm-nano')!))
})

t.test('a file that does not open gives way to the next', async t => {
  const folder = t.testdir({ 'broken.node': 'not a library' })
  const addon = openAddon([join(folder, 'broken.node'), ...addonPaths(root)])
  t.type(addon.initialize, 'function')
})

t.test('the error names every file, why it failed, the platform and the remedy', async t => {
  const folder = t.testdir({
    'broken.node': 'not a library',
    'other.cjs': 'module.exports = {}',
  })
  const paths = ['absent.node', 'broken.node', 'other.cjs'].map(name => join(folder, name))
  try {
    openAddon(paths)
    t.fail('it opened')
  } catch (error) {
    t.match(error, { name: 'OpenELMError', code: 'ADDON_NOT_FOUND' })
    const { message } = error as Error
    for (const path of paths) t.match(message, `  ${path}: `)
    t.match(message, 'absent.node: no such file')
    t.match(message, /broken\.node: .{10}/)
    t.match(message, 'other.cjs: addon.initialize is not a function')
    t.match(message, platform)
    t.match(message, 'npm run build:native')
  }
})

t.test('OPENELM_ADDON is the only file tried when it is set', async t => {
  const { env } = process
  t.teardown(() => {
    process.env = env
  })
  const fresh = await t.mockImport<typeof import('../lib/native.js')>('../lib/native.js')

  process.env = { ...env, OPENELM_ADDON: join(t.testdir(), 'absent.node') }
  t.throws(() => fresh.loadNative(), {
    code: 'ADDON_NOT_FOUND',
    message: /absent\.node: no such file/,
  })

  const built = addonPaths(root).find(existsSync)!
  process.env = { ...env, OPENELM_ADDON: relative('.', built) }
  t.type(fresh.loadNative().initialize, 'function')
})
