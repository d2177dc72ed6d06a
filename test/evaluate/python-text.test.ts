import t from 'tap'
import { capitalize, lengthOf, strip, stripEnd } from '../../lib/evaluate/python-text.js'

t.test('white space', async t => {
  const taken =
    '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000'
  t.equal(strip(`${taken}a b${taken}`), 'a b')
  t.equal(strip(taken), '')
  for (const kept of ['\ufeff', '\u200b', '\u180e', '\x1b']) t.equal(strip(kept), kept)
  t.equal(stripEnd(' a '), ' a')
})

t.test('capitals and lengths', async t => {
  t.equal(capitalize('THE Man from NYC'), 'The man from nyc')
  t.equal(capitalize('ßtrasse'), 'Sstrasse')
  t.equal(capitalize('éCOLE'), 'École')
  t.equal(capitalize(''), '')
  t.equal(lengthOf('a😀é'), 3)
})
