import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addonPaths } from '../lib/native.js'
import { compileCli, outcome } from './helpers/compiled-cli.js'
import { page } from './helpers/training.js'

const root = join(import.meta.dirname, '..')
const directory = t.testdir()
const examples = join(directory, 'examples')
cpSync(join(root, 'examples'), examples, { recursive: true })

// The package as it is installed beside the examples, in a package that is not itself.
writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
const installed = join(directory, 'node_modules', 'openelm')
mkdirSync(installed, { recursive: true })
compileCli(installed)
const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync) ?? 'none'

/** What each example prints, and its arguments. */
const expected: Record<string, { pattern: RegExp; args?: string[] }> = {
  'chat.mjs': {
    pattern:
      /^> Who are you\?\n.+\n\[computed (\d+) of \1 tokens\]\n> And where do you live\?\n.+\n\[computed 2\d of \d{2,3} tokens\]\n$/s,
  },
  'stream-abort.mjs': {
    pattern: /^.+\n\[ended after 20 tokens: the reader has left\]\nIn the morning.+\n$/s,
  },
  'sessions.mjs': {
    pattern: /^1: The door .+\n2: The door .+\n3: The door .+\n4: .+\n5: /,
  },
  'custom-sampling.mjs': { pattern: /^A bird[^eE]{20,}\n$/s },
  'score.mjs': {
    pattern:
      /^(-\d\.\d\d {2}She looked out of the (house|window)\n){2}-\d.+ yesterday\n(-\d+\.\d\d {2}'.+' {2}\('.+'\)\n){6}$/,
  },
  'train.mjs': {
    pattern: /^step 5: loss \d\.\d\d\nstep 10: .+\nstep 20: loss \d\.\d\d\nThe.+\n$/s,
    args: [join(directory, 'run'), join(directory, 'page.txt')],
  },
}

t.test('every example runs', async t => {
  writeFileSync(join(directory, 'page.txt'), page)
  const files = readdirSync(examples).filter(file => file.endsWith('.mjs'))
  t.same(files, Object.keys(expected).sort())
  for (const file of files) {
    const { pattern, args = [] } = expected[file]!
    const child = spawn(process.execPath, [join(examples, file), ...args], {
      env: { ...process.env, NODE_OPTIONS: '', OPENELM_ADDON: addon },
    })
    const { code, stdout, stderr } = await outcome(child)
    t.same({ code, stderr }, { code: 0, stderr: '' }, file)
    t.match(stdout, pattern, file)
  }
})
