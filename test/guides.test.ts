import { spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'
import { compileCli, outcome } from './helpers/compiled-cli.js'

const root = join(import.meta.dirname, '..')
const scratch = t.testdir()
const installed = join(scratch, 'node_modules', 'openelm')
mkdirSync(installed, { recursive: true })
compileCli(installed)
symlinkSync(join(root, 'native'), join(installed, 'native'), 'junction')
for (const name of readdirSync(join(root, 'node_modules'))) {
  symlinkSync(join(root, 'node_modules', name), join(scratch, 'node_modules', name), 'junction')
}
copyFileSync(join(root, 'test', 'data', 'northanger-abbey.txt'), join(scratch, 'book.txt'))

const guides = readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md'))
for (const name of ['README.md', ...guides.map(name => `docs/${name}`)]) {
  t.test(`the examples of ${name} run`, async t => {
    const markdown = readFileSync(join(root, name), 'utf8')
    const blocks = [...markdown.matchAll(/^```js\n(.*?)^```/gms)].map(match => match[1]!)
    t.ok(blocks.length > 0)
    const script = join(scratch, `${name.replace(/\W/g, '-')}.mjs`)
    writeFileSync(script, blocks.join('\n'))
    const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync)
    const child = spawn(process.execPath, [script], {
      cwd: scratch,
      env: { ...process.env, OPENELM_ADDON: addon },
    })
    const { code, stdout, stderr } = await outcome(child)
    t.same({ code, stderr }, { code: 0, stderr: '' })
    t.not(stdout, '')
  })
}
