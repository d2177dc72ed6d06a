import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  initTiny,
  needsScript,
  pipe,
  root,
  startInTerminal,
  succeed,
  tinyConfig,
} from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'

const tiny = await initTiny(t)

t.test('a bar is gone before the result comes', { skip: needsScript }, async t => {
  const child = startInTerminal([
    'perplexity',
    '-m',
    tiny,
    join(root, 'test', 'cli', 'main.test.ts'),
  ])
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', data => {
    screen += data
  })
  const [code] = await once(child, 'close')
  t.equal(code, 0)
  t.match(screen, /Reading .*100%/)
  t.match(screen, /\nbytes +[\d,]+\r?\n$/)
  t.notOk(screen.slice(screen.lastIndexOf('perplexity')).includes('\x1b'))
})

t.test('a dumb terminal gets no bar', { skip: needsScript }, async t => {
  const child = startInTerminal(['perplexity', '-m', tiny, tinyConfig], { TERM: 'dumb' })
  const { code, stdout } = await outcome(child)
  t.equal(code, 0)
  t.match(stdout, /^perplexity/)
  t.notOk(stdout.includes('\x1b'))
})

t.test('the text comes from a file or from standard input', async t => {
  const text = readFileSync(tinyConfig, 'utf8')
  const args = ['perplexity', '-m', tiny, '--json']
  const expected = await succeed(t, ...args, tinyConfig)
  for (const end of [[], ['-']]) {
    t.same(await pipe(text, ...args, ...end), { code: 0, stdout: expected, stderr: '' })
  }
  const nothing = { code: 2, stdout: '' }
  t.match(await pipe('', ...args), { ...nothing, stderr: /expected a file, or text on standard/ })
})
