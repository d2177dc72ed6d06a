import { once } from 'node:events'
import t from 'tap'
import { initTiny, needsScript, startInTerminal, succeed } from '../helpers/cli.js'

const tiny = await initTiny(t)

t.test('bench measures a model', async t => {
  const short = ['-p', '4,8', '-n', '3', '-r', '2', '--threads', '1']
  const table = await succeed(t, 'bench', tiny, ...short, '-d', '5')
  for (const name of ['pp4', 'pp8', 'tg3', 'tg32@d5']) {
    t.match(table, new RegExp(`^${name} +[\\d.]+ +[\\d.]+ - [\\d.]+ +\\d+%$`, 'm'))
  }
  t.match(table, /^peak memory +[\d.]+ MiB$/m)
  const { machine, tests } = JSON.parse(await succeed(t, 'bench', tiny, ...short, '--json'))
  t.same(Object.keys(machine), ['readBandwidth', 'floatPeak'])
  t.equal(tests.length, 3)
})

t.test('bench shows a bar, and ends at Ctrl-C', { skip: needsScript }, async t => {
  const child = startInTerminal(['bench', tiny, '-n', '120', '-r', '100000'])
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    screen += text
  })
  while (!/Measuring .*% .* of 79,200,000/.test(screen)) await once(child.stdout, 'data')
  child.stdin.write('\x03')
  const [code] = await once(child, 'close')
  t.equal(code, 130)
  t.notMatch(screen, /pp32/)
})
