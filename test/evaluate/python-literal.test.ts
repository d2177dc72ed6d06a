import t from 'tap'
import { parsePythonLiteral } from '../../lib/evaluate/python-literal.js'

t.test('what repr writes, and what people write', async t => {
  const literals: [string, unknown][] = [
    ['[]', []],
    [' [1, -2, True, False, None,] ', [1, -2, true, false, null]],
    [`{'a': "it's", "b": 'say "x"'}`, { a: "it's", b: 'say "x"' }],
    [String.raw`'\'\"\\\n\t\x41\u00e9\U0001F600\101\0'`, '\'"\\\n\tAé😀A\0'],
    [String.raw`'\d'`, '\\d'],
    [`'a' "b"\n'c'`, 'abc'],
    ["'line\\\nbreak'", 'linebreak'],
    ['{}', {}],
  ]
  for (const [text, value] of literals) t.same(parsePythonLiteral(text), value, text)
})

t.test('what is none is refused', async t => {
  const bad = ['', '[', "['a'", "['a' 1]", '{1: 2}', "{'a' 1}", "'a", "'a\nb'", '[] []', 'name']
  bad.push(String.raw`'\UFFFFFFFF'`, '['.repeat(40) + ']'.repeat(40))
  for (const text of bad) t.throws(() => parsePythonLiteral(text), SyntaxError, text)
})
