import t from 'tap'
import { describe, errorCodes, invalidArgument, OpenELMError } from '../lib/errors.js'

t.test('every code says when it is thrown', async t => {
  t.equal(Object.keys(errorCodes).length, 24)
  for (const [code, when] of Object.entries(errorCodes)) {
    t.match(code, /^[A-Z][A-Z_]+$/)
    t.ok(when.length > 10, code)
  }
})

t.test('an error carries its code and its cause', async t => {
  const cause = new Error('disk')
  const error = new OpenELMError('IO_ERROR', 'cannot read', { cause })
  t.ok(error instanceof Error)
  t.match(error, { name: 'OpenELMError', code: 'IO_ERROR', message: 'cannot read', cause })
})

t.test('a bad argument names itself, what was expected and what came', async t => {
  t.equal(
    invalidArgument('options.topK', 'an integer from 0 up', -1).message,
    'expected options.topK to be an integer from 0 up, received -1',
  )
  const cases: [unknown, string][] = [
    ['text', '"text"'],
    [undefined, 'undefined'],
    [null, 'null'],
    [1n, '1n'],
    [[1, 2], 'an array of 2'],
    [new Map(), 'an instance of Map'],
    [Object.create(null), 'an instance of null prototype'],
    [() => 0, 'a function'],
    ['x'.repeat(50), `"${'x'.repeat(40)}…"`],
  ]
  for (const [value, text] of cases) t.equal(describe(value), text)
})
