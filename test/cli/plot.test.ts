import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { succeed } from '../helpers/cli.js'

t.test('plot draws the losses of a log', async t => {
  const dir = t.testdir()
  const [log, out] = [join(dir, 'log.jsonl'), join(dir, 'loss.svg')]
  writeFileSync(log, '{"step":1,"loss":3}\n{"step":2,"loss":2,"validationLoss":2.5}\n')
  await succeed(t, 'plot', log, out)
  t.match(readFileSync(out, 'utf8'), /^<svg .*<polyline .*<circle .*<\/svg>\s*$/s)
})
