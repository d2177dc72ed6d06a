import t from 'tap'
import { parseStrictJson } from '../lib/strict-json.js'

const parse = (text: string, options?: { onlyNaturals: boolean }) =>
  parseStrictJson(Buffer.from(text), options)

t.test('what it accepts, it reads as JSON.parse does', async t => {
  const texts = [
    '0',
    ' -12.5e-3 ',
    '"a\\u0062\\n\\ud83d\\ude00\\"\\\\"',
    '\t\r\n[ ]',
    '{}',
    'true',
    'false',
    'null',
    '{"a":[1,{"b":null}],"":{"c":"d"}}',
    '[1e3, 1.0, -0, 123456789012345678]',
    `"${'x'.repeat(1e5)}"`,
    `${'['.repeat(33)}${']'.repeat(33)}`,
  ]
  for (const text of texts) t.same(parse(text), JSON.parse(text), text.slice(0, 40))
})

t.test('it says what is wrong and where', async t => {
  const cases: [string, string][] = [
    ['', 'expected a value at character 0'],
    ['  ', 'expected a value at character 2'],
    ['\ufeff{}', 'expected a value at character 0'],
    ['{}\0', 'something follows the value at character 2'],
    ['{} {}', 'something follows the value at character 3'],
    ['{"a" 1}', 'expected : at character 5'],
    ['{"a":1,}', 'expected a key at character 7'],
    ["{'a':1}", 'expected a key at character 1'],
    ['{"a":1', 'expected } at character 6'],
    ['[1 2]', 'expected ] at character 3'],
    ['[1,]', 'expected a value at character 3'],
    ['[1]]', 'something follows the value at character 3'],
    ['// comment\n{}', 'expected a value at character 0'],
    ['nul', 'expected a value at character 0'],
    ['NaN', 'expected a value at character 0'],
    ['-Infinity', 'malformed number - at character 0'],
    ['[01]', 'malformed number 01 at character 1'],
    ['+1', 'malformed number +1 at character 0'],
    ['.5', 'malformed number .5 at character 0'],
    ['1.', 'malformed number 1. at character 0'],
    ['0x10', 'something follows the value at character 1'],
    ['1e999', 'malformed number 1e999 at character 0'],
    ['1'.repeat(33), `malformed number ${'1'.repeat(33)} at character 0`],
    ['"a', 'malformed string at character 0'],
    ['"a\\"', 'malformed string at character 0'],
    ['"\\x41"', 'malformed string at character 0'],
    ['["a\nb"]', 'malformed string at character 1'],
    ['"\\ud800"', 'a lone surrogate in the string that ends at character 8'],
    ['{"a":1,"a":2}', 'the key "a" appears twice, the second time at character 10'],
    ['{"a":1,"\\u0061":2}', 'the key "a" appears twice, the second time at character 15'],
    ['{"__proto__":1,"__proto__":2}', 'the key "__proto__" appears twice'],
    [`${'['.repeat(34)}${']'.repeat(34)}`, 'nesting deeper than 32 at character 33'],
    ['['.repeat(1e6), 'nesting deeper than 32 at character 33'],
  ]
  for (const [text, message] of cases) {
    const error = t.throws(() => parse(text), { name: 'SyntaxError' }, text.slice(0, 40)) as Error
    t.ok(error.message.startsWith(message), error.message)
  }
})

t.test('invalid UTF-8 is refused', async t => {
  const invalid = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0xf4, 0x90, 0x80, 0x80]]
  for (const bytes of invalid) {
    const quoted = Buffer.from([0x22, ...bytes, 0x22])
    t.throws(() => parseStrictJson(quoted), { name: 'SyntaxError', message: 'invalid UTF-8' })
  }
})

t.test('with onlyNaturals a number is plain digits', async t => {
  const options = { onlyNaturals: true }
  t.same(parse('[0, 7, 9007199254740993]', options), [0, 7, 9007199254740992])
  for (const text of ['-0', '-1', '1.0', '1e3', '1E0', '01', '0.5']) {
    t.throws(() => parse(text, options), { name: 'SyntaxError', message: /malformed number/ }, text)
  }
})

t.test('objects have no prototype', async t => {
  const object = parse('{"__proto__": {"polluted": true}, "constructor": 1}') as object
  t.equal(Object.getPrototypeOf(object), null)
  t.same(Object.keys(object), ['__proto__', 'constructor'])
  t.notOk('polluted' in {})
})
