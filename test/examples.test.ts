import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { installPackage } from './helpers/installed-package.js'
import { page } from './helpers/training.js'

const root = join(import.meta.dirname, '..')
const directory = t.testdir()
const examples = join(directory, 'examples')
cpSync(join(root, 'examples'), examples, { recursive: true })

const run = installPackage(directory)

/** What each example prints, and its arguments. */
const expected: Record<string, { pattern: RegExp; args?: string[] }> = {
  'chat.mjs': {
    pattern: lines(
      /> Tell me a story about a cat and a boat\./,
      /[\s\S]+/,
      /\[computed (\d+) of \1 tokens\]/,
      /> Tell me a story about a dog and a red ball\./,
      /[\s\S]+/,
      /\[computed [23]\d of \d{2,3} tokens\]/,
    ),
  },
  'stream-abort.mjs': {
    pattern: /^.+\n\[ended after 20 tokens: the reader has left\]\nIn the morning.+\n$/s,
  },
  'sessions.mjs': {
    pattern: /^1: One day, .+\n2: One day, .+\n3: One day, .+\n4: .+\n5: /s,
  },
  'custom-sampling.mjs': { pattern: /^A bird[^eE]{20,}\n$/s },
  'score.mjs': {
    pattern: lines(
      /(-\d\.\d\d {2}The bird lived in a big (house|tree)\n){2}-\d.+ yesterday/,
      /(-\d+\.\d\d {2}'.+' {2}\('.+'\)\n){6}-\d+\.\d\d {2}'.+' {2}\('.+'\)/,
    ),
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
    const { code, stdout, stderr } = await run(join(examples, file), args)
    t.same({ code, stderr }, { code: 0, stderr: '' }, file)
    t.match(stdout, pattern, file)
  }
})

/** A text of lines, or runs of lines, that these match. */
function lines(...patterns: RegExp[]): RegExp {
  return new RegExp(`^${patterns.map(({ source }) => `${source}\\n`).join('')}$`)
}
