import t from 'tap'
import { start, succeed } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'

t.test('doctor tells what there is', async t => {
  const report = await succeed(t, 'doctor')
  t.match(report, /^platform +\S+ /m)
  t.match(report, /^cpu +available: /m)
  t.match(report, /^metal +(available|missing): /m)
  t.match(report, /^addon +.*openelm.*\.node$/m)

  const facts = JSON.parse(await succeed(t, 'doctor', '--json'))
  t.equal(facts.node, process.version)
  t.equal(facts.addon.backends.length, 3)
})

t.test('doctor without an addon tells why and fails', async t => {
  const { code, stdout } = await outcome(start(['doctor'], { OPENELM_ADDON: '/nowhere/x.node' }))
  t.equal(code, 1)
  t.match(stdout, /^platform /m)
  t.match(stdout, '/nowhere/x.node: no such file')
})
