import { monitorEventLoopDelay } from 'node:perf_hooks'
import t from 'tap'
import { compile, draw, follow, randomText, seeded, tokenizer } from '../helpers/constrained.js'

const invalid = { name: 'OpenELMError', code: 'INVALID_ARGUMENT' }

function nested(depth: number): object {
  let schema: object = { type: 'integer' }
  for (let i = 0; i < depth; i++) schema = { type: 'array', items: schema }
  return schema
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `value ${i * 7919}`)
const properties = (count: number) =>
  Object.fromEntries(many(count).map(name => [name, { type: 'boolean' }]))

/** What must be refused. */
const refused: Record<string, unknown> = {
  'nesting of 200': nested(200),
  'nesting of 100,000': nested(100_000),
  'a reference to itself': { $ref: '#' },
  'references in a circle': {
    $ref: '#/$defs/a',
    $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } },
  },
  'a choice of itself': { anyOf: [{ $ref: '#' }, { type: 'null' }] },
  'all of itself': { allOf: [{ $ref: '#' }] },
  'recursion without an end': {
    type: 'object',
    properties: { again: { $ref: '#' } },
    required: ['again'],
  },
  'lists without an end': { type: 'array', items: { $ref: '#' }, minItems: 1 },
  'a reference to nothing': { $ref: '#/$defs/none' },
  'a reference to a prototype': { $ref: '#/constructor' },
  'a reference elsewhere': { $ref: 'https://example.com/schema.json' },
  'choices that are not told apart': { oneOf: [{ type: 'integer' }, { minimum: 2 }] },
  '3,000 properties that may be left out': { type: 'object', properties: properties(3000) },
  'a pattern that nests too deep': { pattern: `${'('.repeat(5000)}a${')'.repeat(5000)}` },
  'a long pattern and a length': { pattern: '^(ab|c)*$', maxLength: 1_000_000 },
  'limits that contradict': { type: 'string', minLength: 3, maxLength: 2 },
  'an enum without a value that fits': { enum: [1, 2], minimum: 3 },
}
for (const keyword of [
  'not',
  'if',
  'multipleOf',
  'contains',
  'patternProperties',
  'dependentRequired',
  'unevaluatedProperties',
  '$dynamicRef',
  'minItem',
]) {
  refused[keyword] = { type: 'object', [keyword]: {} }
}

t.test('what cannot be used is refused by its name', async t => {
  for (const [name, schema] of Object.entries(refused)) {
    await t.rejects((async () => compile(schema))(), invalid, name)
  }
})

/** What must work, however large it looks. */
const heavy: Record<string, unknown> = {
  'an enum of 50,000': { enum: many(50_000) },
  'a string of up to 1,000,000': { type: 'string', maxLength: 1_000_000 },
  'a string from 1,000,000': { type: 'string', minLength: 1_000_000 },
  '1,000,000 numbers': { type: 'array', items: { const: 1 }, maxItems: 1_000_000 },
  'a counted repeat of 1,000,000': /(ab?){0,1000000}/,
  'repeats in repeats': /((a{0,9}b{0,9}){0,9}c?){0,9}/,
  'a pattern of exponential time': /(a|a)*(a|aa)+b|((x+x+)+y)/,
  'a pattern of exponential size': /(a|b)*a(a|b){16}/,
  'a pattern anywhere': { pattern: '(ab?c){3,50}' },
  '500 properties that must be there': {
    type: 'object',
    properties: properties(500),
    required: many(500),
  },
  '200 properties that may be left out': { type: 'object', properties: properties(200) },
  '200 choices': { anyOf: many(200).map(name => ({ properties: { [name]: { type: 'null' } } })) },
  'nesting of 90': nested(90),
}

/** Scores by which the last token that may come is drawn. */
const last = Float32Array.from({ length: 32000 }, (_, token) => token)

t.test('what is heavy takes bounded time', async t => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  for (const [name, schema] of Object.entries(heavy)) {
    const start = process.cpuUsage()
    delay.reset()
    delay.enable()
    const constraint = await compile(schema)
    const text = follow(constraint)
    for (let i = 0, isLast = false; i < 20 && !isLast; i++) {
      isLast = draw(text, last).isLast === true
    }
    delay.disable()
    const { user } = process.cpuUsage(start)
    t.comment(`${name}: ${(user / 1000).toFixed()} ms, held up ${(delay.max / 1e6).toFixed()} ms`)
    t.ok(user < 5e6, `${name} within 5 s of processor time`)
  }
})

t.test('what no mask can be found of in bounded time is refused', async t => {
  const text = follow(await compile(/(((a{0,300}){0,300}){0,300}){0,300}/))
  const [letter = 0] = tokenizer.encode('aaaa', { addBos: false }).slice(-1)
  const likesLetter = new Float32Array(32000)
  likesLetter[letter] = 1
  t.throws(() => {
    for (let i = 0; i < 100; i++) draw(text, likesLetter)
  }, invalid)
})

t.test('random schemas never lead to a state without a token', async t => {
  const random = seeded(11)
  const oneOf = <Choice>(...choices: Choice[]) => choices[Math.floor(random() * choices.length)]!
  const schemaOf = (depth: number): object => {
    const leaf = () =>
      oneOf<object>(
        { type: 'integer', minimum: Math.floor(random() * 2000) - 1000, maximum: 1000 },
        {
          type: 'number',
          minimum: -random(),
          exclusiveMaximum: Number((random() + 0.01).toFixed(3)),
        },
        { type: 'string', minLength: Math.floor(random() * 4), maxLength: 4 },
        { type: 'string', pattern: oneOf('^[ab]+c?$', 'x', '^(yes|no)?$') },
        { type: ['null', 'boolean'] },
        { enum: ['a', 'ab', 1, 12, null] },
      )
    if (depth === 0) return leaf()
    const inner = () => schemaOf(depth - 1)
    return oneOf<() => object>(
      leaf,
      () => ({ anyOf: [inner(), inner()] }),
      () => ({ type: 'array', items: inner(), minItems: oneOf(0, 1, 2), maxItems: 3 }),
      () => ({
        type: 'object',
        properties: { a: inner(), ab: inner(), c: inner() },
        required: oneOf<string[]>([], ['a'], ['ab', 'c'], ['d']),
        ...oneOf<object>({}, { additionalProperties: inner(), maxProperties: 4 }),
      }),
    )()
  }
  for (let i = 0; i < 40; i++) {
    const schema = schemaOf(3)
    const constraint = await compile(schema)
    t.doesNotThrow(() => randomText(constraint, random, 200), JSON.stringify(schema))
  }
})
