import t from 'tap'
import { initTiny, succeed } from '../helpers/cli.js'

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
