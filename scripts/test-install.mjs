// Installs the packed package with each package manager, from a registry on this machine, where no compiler
// is, and runs it; compiles it where one is; then runs it under test runners and bundlers. Prints a table
// and fails when a row does. Needs the network, and a prebuild of this platform: in `prebuilds`, or in a
// package of its own (scripts/platform-packages.mjs).
//   node scripts/test-install.mjs [openelm.tgz packages of platforms...]
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { serveRegistry } from './local-registry.mjs'

const execute = promisify(execFile)
const root = join(import.meta.dirname, '..')
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'openelm-install-')))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const tarballs = process.argv.slice(2).map(path => resolve(path))
if (tarballs.length === 0) tarballs.push(await pack())
const { stdout: upstream } = await execute('npm', ['config', 'get', 'registry'])
const registry = await serveRegistry(tarballs, upstream.trim())
const shared = {
  ...process.env,
  npm_config_registry: registry.url,
  YARN_REGISTRY: registry.url,
  NODE_OPTIONS: '',
  OPENELM_ADDON: '',
  CI: 'true',
  YARN_CACHE_FOLDER: join(folder, 'yarn1-cache'), // else an older tarball of the same version comes out of it
}

/** What an install may use: Node, npm and a shell, and neither a compiler, make nor Python. */
function pathWithoutCompiler() {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const directories = process.env.PATH.split(':')
  for (const name of ['node', 'npm', 'npx', 'sh', 'env', 'uname', 'dirname', 'basename', 'sed']) {
    const file = directories.map(directory => join(directory, name)).find(existsSync)
    if (file) symlinkSync(realpathSync(file), join(bin, name))
  }
  return bin
}
const path = pathWithoutCompiler()

async function run(cwd, command, ...args) {
  return await runWith({}, cwd, command, ...args)
}

async function runWith(environment, cwd, command, ...args) {
  const env = { ...shared, PATH: path, ...environment }
  try {
    const { stdout, stderr } = await execute(command, args, { cwd, env, maxBuffer: 2 ** 26 })
    return stdout + stderr
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? ''}`)
  }
}

function project(name, files) {
  const directory = join(folder, name)
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, file)), { recursive: true })
    writeFileSync(
      join(directory, file),
      typeof content === 'string' ? content : JSON.stringify(content, null, 2),
    )
  }
  return directory
}

async function pack() {
  await execute('npm', ['pack', '--pack-destination', folder], { cwd: root, maxBuffer: 2 ** 26 })
  return join(
    folder,
    readdirSync(folder).find(name => name.endsWith('.tgz')),
  )
}

const generate = `OpenELM.load('openelm-nano')
  .then(model => model.generate('Once', { maxTokens: 3, ignoreEos: true }))
  .then(({ usage }) => console.log('generated', usage.completionTokens))`
const consumer = {
  'package.json': { private: true, dependencies: { openelm: manifest.version } },
  'import.mjs': `import { OpenELM } from 'openelm'\n${generate}`,
  'require.cjs': `const { OpenELM } = require('openelm')\n${generate}`,
}

const results = []
async function row(name, body) {
  const start = performance.now()
  try {
    results.push({ name, ok: true, outcome: await body() })
  } catch (error) {
    results.push({ name, ok: false, outcome: error.message })
  }
  const { ok, outcome } = results.at(-1)
  const seconds = ((performance.now() - start) / 1000).toFixed(0)
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${seconds} s): ${outcome}`)
}

function expectText(text, expected) {
  if (text.includes(expected)) return
  throw new Error(`expected ${JSON.stringify(expected)} in:\n${text}`)
}

/** Folders named build below an installed openelm, which only a compiler makes. */
function builtFolders(directory) {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(name =>
    /(^|[/\\])openelm[/\\]build$/.test(name),
  )
}

const tools = project('tools', {
  'package.json': {
    private: true,
    dependencies: {
      yarn1: 'npm:yarn@1',
      yarn4: 'npm:@yarnpkg/cli-dist@4',
      pnpm9: 'npm:pnpm@9',
      pnpm10: 'npm:pnpm@10',
    },
  },
})
await run(tools, 'npm', 'install', '--ignore-scripts')
const tool = (...parts) => ['node', join(tools, 'node_modules', ...parts)]
const npm = ['npm']
const yarn1 = tool('yarn1', 'bin', 'yarn.js')
const yarn4 = tool('yarn4', 'bin', 'yarn.js')
const pnpm9 = tool('pnpm9', 'bin', 'pnpm.cjs')
const pnpm10 = tool('pnpm10', 'bin', 'pnpm.cjs')
const yarnConfig = linker =>
  [
    `nodeLinker: ${linker}`,
    'enableTelemetry: false',
    'enableImmutableInstalls: false',
    `npmRegistryServer: "${registry.url}"`,
    'unsafeHttpWhitelist: ["127.0.0.1"]',
    `cacheFolder: ${join(folder, 'yarn-cache')}`,
    `globalFolder: ${join(folder, 'yarn-global')}`,
    '',
  ].join('\n')

const managers = [
  { name: 'npm', command: npm, install: ['install'], node: ['node'] },
  { name: 'Yarn 1', command: yarn1, install: ['install'], node: ['node'] },
  {
    name: 'Yarn 4, node_modules',
    command: yarn4,
    install: ['install'],
    node: ['node'],
    files: { '.yarnrc.yml': yarnConfig('node-modules'), 'yarn.lock': '' },
  },
  {
    name: "Yarn 4, Plug'n'Play",
    command: yarn4,
    install: ['install'],
    node: [...yarn4, 'node'],
    files: { '.yarnrc.yml': yarnConfig('pnp'), 'yarn.lock': '' },
  },
  { name: 'pnpm 9', command: pnpm9, install: ['install'], node: ['node'] },
  { name: 'pnpm 10', command: pnpm10, install: ['install'], node: ['node'] },
]

for (const { name, command, install, node, files } of managers) {
  await row(name, async () => {
    const directory = project(name.replace(/\W+/g, '-').toLowerCase(), { ...consumer, ...files })
    await run(directory, ...command, ...install)
    for (const place of ['node_modules', '.yarn/unplugged']) {
      const built = builtFolders(join(directory, place))
      if (built.length > 0) throw new Error(`it compiled ${built}`)
    }
    for (const script of ['import.mjs', 'require.cjs']) {
      expectText(await run(directory, ...node, script), 'generated 3')
    }
    return 'nothing compiled; import and require generate'
  })
}

if (manifest.optionalDependencies) {
  const names = Object.keys(manifest.optionalDependencies)
  const installed = directory =>
    names.filter(name => existsSync(join(directory, 'node_modules', name)))
  await row('npm, a lockfile made elsewhere', async () => {
    const directory = project('locked', consumer)
    await run(directory, 'npm', 'install', '--package-lock-only', '--os=win32', '--cpu=arm64')
    await run(directory, 'npm', 'ci')
    const [name, ...others] = installed(directory)
    if (!name || others.length > 0) throw new Error(`it installed ${name} ${others}`)
    expectText(await run(directory, 'node', 'import.mjs'), 'generated 3')
    return `installs ${name} alone`
  })
  await row('npm, a lockfile that lacks this platform', async () => {
    const directory = project('lacking', consumer)
    await run(directory, 'npm', 'install', '--omit=optional')
    const text = await run(directory, 'node', 'import.mjs').catch(error => error.message)
    expectText(text, 'package-lock.json')
    return 'says to install without it'
  })
}

await row('npm, compiled by hand', async () => {
  const directory = project('compiled', consumer)
  await run(directory, 'npm', 'install')
  const withCompiler = { PATH: process.env.PATH }
  const build = ['explore', 'openelm', '--', 'npm', 'run', 'build:native']
  await runWith(withCompiler, directory, 'npm', ...build)
  const addon = join('node_modules', 'openelm', 'build', 'Release', 'openelm.node')
  expectText(await run(directory, 'npx', 'openelm', 'doctor'), addon)
  expectText(await run(directory, 'node', 'import.mjs'), 'generated 3')
  return 'npm explore openelm -- npm run build:native makes the addon that is used'
})

// Test runners and bundlers, in one project that npm installed.
const module = `import { OpenELM } from 'openelm'
export async function generate() {
  const model = await OpenELM.load('openelm-nano')
  const { usage } = await model.generate([1, 2, 3], { maxTokens: 3, ignoreEos: true })
  const logits = await model.logits(Int32Array.of(1, 2))
  await model.dispose()
  return usage.completionTokens + logits.length / model.config.vocabSize
}
`
const check = 'expect(await generate()).toBe(5)'
const users = project('users', {
  'package.json': {
    private: true,
    type: 'module',
    dependencies: {
      openelm: manifest.version,
      jest29: 'npm:jest@29',
      jest30: 'npm:jest@30',
      vitest: '4',
      esbuild: '*',
      webpack: '5',
    },
  },
  'generate.js': module,
  'app.js': `import { generate } from './generate.js'\nconsole.log('generated', await generate())\n`,
  'jest/generate.test.js': `import { generate } from '../generate.js'\ntest('generates', async () => { ${check} })\n`,
  'jest/require.test.cjs': `test('requires', () => { require('openelm') })\n`,
  'vitest/generate.test.js': `import { expect, test } from 'vitest'
import { generate } from '../generate.js'
test('generates', async () => { ${check} })\n`,
  'jest.config.json': { transform: {}, testMatch: ['**/jest/*.test.js'] },
  'jest.cjs.config.json': { transform: {}, testMatch: ['**/jest/*.test.cjs'] },
  'webpack.config.js': `export default {
  mode: 'production', target: 'node20', entry: './app.js',
  experiments: { outputModule: true }, externalsType: 'module', externals: { openelm: 'openelm' },
  output: { module: true, path: import.meta.dirname, filename: 'webpacked.mjs' } }\n`,
  'webpack.inline.config.js': `import config from './webpack.config.js'
export default { ...config, externals: {}, output: { ...config.output, filename: 'inlined.mjs' } }\n`,
})
await run(users, 'npm', 'install', '--legacy-peer-deps')
const modules = join(users, 'node_modules')
const vmModules = { NODE_OPTIONS: '--experimental-vm-modules' }

for (const jest of ['jest29', 'jest30']) {
  const cli = join(modules, jest, 'bin', 'jest.js')
  await row(`${jest}, as ES modules`, async () => {
    const text = await runWith(vmModules, users, 'node', cli, '-c', 'jest.config.json')
    expectText(text, '1 passed')
    return 'works with NODE_OPTIONS=--experimental-vm-modules'
  })
  await row(`${jest}, by require`, async () => {
    const text = await run(users, 'node', cli, '-c', 'jest.cjs.config.json').catch(e => e.message)
    if (text.includes('1 passed')) return 'works'
    expectText(text, 'jestjs.io/docs/ecmascript-modules')
    return 'Jest says how to enable ES modules'
  })
}
for (const pool of ['forks', 'threads', 'vmThreads']) {
  await row(`vitest, ${pool}`, async () => {
    const cli = join(modules, 'vitest', 'vitest.mjs')
    const text = await run(users, 'node', cli, 'run', '--pool', pool, '--dir', 'vitest')
    expectText(text, '1 passed')
    return 'works'
  })
}
await row('esbuild, external', async () => {
  const { build } = await import(join(modules, 'esbuild', 'lib', 'main.js'))
  const options = { entryPoints: [join(users, 'app.js')], bundle: true, platform: 'node' }
  const outfile = join(users, 'esbuilt.mjs')
  await build({ ...options, format: 'esm', external: ['openelm'], outfile })
  expectText(await run(users, 'node', outfile), 'generated 5')
  return 'works'
})
await row('esbuild, bundled by mistake', async () => {
  const { build } = await import(join(modules, 'esbuild', 'lib', 'main.js'))
  const options = { entryPoints: [join(users, 'generate.js')], bundle: true, platform: 'node' }
  const outfile = join(users, 'dist', 'deep', 'inlined.cjs')
  await build({ ...options, format: 'cjs', outfile, logLevel: 'silent' })
  const call = `require(${JSON.stringify(outfile)}).generate().catch(e => console.log(e.message))`
  const text = await run(users, 'node', '--input-type=commonjs', '-e', call).catch(e => e.message)
  expectText(text, 'leave openelm out of the bundle (mark it as external)')
  return 'says to leave openelm out of the bundle'
})
await row('webpack, external', async () => {
  const cli = join(users, 'bundle.mjs')
  writeFileSync(cli, bundleScript('./webpack.config.js'))
  await run(users, 'node', cli)
  expectText(await run(users, 'node', 'webpacked.mjs'), 'generated 5')
  return 'works'
})
await row('webpack, bundled by mistake', async () => {
  const cli = join(users, 'bundle-inline.mjs')
  writeFileSync(cli, bundleScript('./webpack.inline.config.js'))
  const text = await run(users, 'node', cli)
    .then(() => run(users, 'node', 'inlined.mjs'))
    .catch(e => e.message)
  expectText(text, 'leave openelm out of the bundle (mark it as external)')
  return 'says to leave openelm out of the bundle'
})

function bundleScript(config) {
  return `import webpack from 'webpack'
import config from '${config}'
webpack(config, (error, stats) => {
  if (error) throw error
  if (stats.hasErrors()) throw new Error(stats.toString())
})\n`
}

const failed = results.filter(({ ok }) => !ok)
console.log(`${results.length - failed.length} passed, ${failed.length} failed`)
if (process.env.KEEP) cpSync(folder, process.env.KEEP, { recursive: true })
registry.close()
process.exitCode = failed.length > 0 ? 1 : 0
