import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { installPackage } from './helpers/installed-package.js'

const root = join(import.meta.dirname, '..')
const scratch = t.testdir()
const run = installPackage(scratch)
copyFileSync(join(root, 'test', 'data', 'northanger-abbey.txt'), join(scratch, 'book.txt'))

const guides = readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md'))
for (const name of ['README.md', ...guides.map(name => `docs/${name}`)]) {
  t.test(`the examples of ${name} run`, async t => {
    const markdown = readFileSync(join(root, name), 'utf8')
    const blocks = [...markdown.matchAll(/^```js\n(.*?)^```/gms)].map(match => match[1]!)
    t.ok(blocks.length > 0)
    const script = join(scratch, `${name.replace(/\W/g, '-')}.mjs`)
    writeFileSync(script, blocks.join('\n'))
    const { code, stdout, stderr } = await run(script)
    t.same({ code, stderr }, { code: 0, stderr: '' })
    t.not(stdout, '')
  })
}
