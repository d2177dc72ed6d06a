import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import t from 'tap'
import { compileCli } from './helpers/compiled-cli.js'

const root = join(import.meta.dirname, '..')
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const scratch = t.testdir()
compileCli(scratch)

/** The folders of dist that importing an entry point loads modules from: '' for dist itself. */
function loadedFolders(entry: string): string[] {
  const coverage = mkdtempSync(join(scratch, 'coverage-'))
  const file = pathToFileURL(join(scratch, exports[entry].default)).href
  execFileSync(process.execPath, ['--input-type=module', '--eval', `await import('${file}')`], {
    env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: coverage },
  })
  // V8's records of what was executed name every module, in a file for each thread.
  const scripts = readdirSync(coverage).flatMap(
    report => JSON.parse(readFileSync(join(coverage, report), 'utf8')).result as { url: string }[],
  )
  const dist = join(scratch, 'dist')
  const files = scripts
    .filter(({ url }) => url.startsWith(pathToFileURL(dist).href))
    .map(({ url }) => relative(dist, fileURLToPath(url)))
  return [...new Set(files.map(file => file.split(/[/\\]/).slice(0, -1).join('/')))].sort()
}

t.test('an entry point loads the model and what it is about, and no other', async t => {
  const own: Record<string, string[]> = {
    '.': [],
    './train': ['torch', 'train', 'train/examples'],
    './evaluate': ['evaluate', 'evaluate/tasks'],
    './convert': ['convert', 'convert/gguf', 'torch'],
    './electron': ['electron'],
    './ai-sdk': ['ai-sdk'],
    './server': ['server'],
  }
  const entries = Object.keys(exports).filter(entry => entry !== './package.json')
  t.same(entries.sort(), Object.keys(own).sort())
  for (const entry of entries) {
    const folders = loadedFolders(entry)
    t.ok(folders.includes(''), `${entry} loads modules`)
    t.same(
      folders.filter(folder => !['', 'adapters', 'chat', 'constraint', 'hub'].includes(folder)),
      own[entry],
      entry,
    )
  }
})

/** Every module that a module of dist imports, and those that these import. */
function imported(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found
  found.add(file)
  const imports = /(?:^import |^(?:import|export) .* from |\bimport\()'([^']+)'/gm
  for (const [, name] of readFileSync(file, 'utf8').matchAll(imports)) {
    if (name!.startsWith('.')) imported(join(dirname(file), name!), found)
    else found.add(name!)
  }
  return found
}

t.test('openelm/electron can be loaded by a page, which has no modules of Node', async t => {
  const modules = [...imported(join(scratch, exports['./electron'].default))]
  t.ok(modules.length > 5)
  t.same(
    modules.filter(name => !name.startsWith(join(scratch, 'dist'))),
    [],
  )
})

t.test('types come first, since resolvers take the first condition that fits', async t => {
  for (const [entry, conditions] of Object.entries(exports)) {
    if (entry === './package.json') continue
    t.equal(Object.keys(conditions as object)[0], 'types', entry)
  }
})
