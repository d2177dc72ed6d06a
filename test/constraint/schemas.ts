import { z } from 'zod'

const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'age'],
  additionalProperties: false,
}

/** Schemas of every kind that is supported. */
export const schemas: Readonly<Record<string, object>> = {
  'a string': { type: 'string' },
  'an integer': { type: 'integer' },
  'a number': { type: 'number' },
  'a boolean or null': { type: ['boolean', 'null'] },
  'any value': { $comment: 'anything' },
  'any object': { type: 'object' },
  'any array': { type: 'array' },
  'an object': person,
  'optional properties': {
    type: 'object',
    properties: {
      a: { type: 'integer' },
      b: { type: 'null' },
      c: { const: 'x' },
      d: { enum: [1, 2] },
    },
    required: ['c'],
  },
  'no required property': {
    type: 'object',
    properties: { a: { type: 'boolean' }, b: { type: 'boolean' }, ab: { type: 'boolean' } },
  },
  'a list of objects': { type: 'array', items: person, maxItems: 3 },
  'nested lists': {
    type: 'array',
    items: { type: 'array', items: { type: 'integer' }, maxItems: 3, minItems: 1 },
    minItems: 2,
    maxItems: 4,
  },
  'an empty list': { type: 'array', maxItems: 0 },
  'a tuple': {
    type: 'array',
    prefixItems: [{ type: 'string', maxLength: 5 }, { type: 'number' }, { type: 'boolean' }],
    items: false,
  },
  'a tuple and a rest': {
    type: 'array',
    prefixItems: [{ const: 'a' }],
    items: { type: 'integer' },
    maxItems: 4,
  },
  'an enum of strings': { enum: ['red', 'green', 'greenish', 'blue', 'ünïcödé', 'with "quotes"'] },
  'an enum of anything': { enum: [1, 'one', null, true, [1, { a: 2 }], { b: [], c: 'd' }, 1.5] },
  'an enum with other limits': { enum: [1, 2, 3, 'four', 5.5], type: 'integer', minimum: 2 },
  'a const object': { const: { a: [1, 2], b: { c: null } } },
  'lengths of strings': { type: 'string', minLength: 3, maxLength: 7 },
  'the length of a string': { type: 'string', minLength: 1, maxLength: 1 },
  'a least length': { type: 'string', minLength: 20 },
  'a small range': { type: 'integer', minimum: -3, maximum: 12 },
  'a wide range': { type: 'integer', minimum: 95, maximum: 12_345 },
  'an open range': { type: 'integer', exclusiveMinimum: -10, exclusiveMaximum: 10 },
  'negative integers': { type: 'integer', maximum: -17 },
  'integers from 1000 up': { type: 'integer', minimum: 1000 },
  'rounded bounds': { type: 'integer', minimum: 0.5, maximum: 7.2 },
  'a share': { type: 'number', minimum: 0, maximum: 1 },
  'an open share': { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
  decimals: { type: 'number', minimum: -1.25, exclusiveMaximum: 3.1 },
  'a narrow range': { type: 'number', minimum: 0.123, maximum: 0.1261 },
  'large numbers': { type: 'number', minimum: 1e6 },
  'negative numbers': { type: 'number', exclusiveMaximum: -0.5 },
  'anyOf of types': {
    anyOf: [{ type: 'string', maxLength: 8 }, { type: 'integer' }, { type: 'null' }],
  },
  'anyOf of objects': {
    anyOf: [
      person,
      { type: 'object', properties: { name: { const: 'none' } }, required: ['name'] },
    ],
  },
  'anyOf beside properties': {
    type: 'object',
    properties: { a: { type: 'integer' }, b: { type: 'integer' } },
    anyOf: [{ required: ['a'] }, { required: ['b'] }],
  },
  'oneOf with a key that tells': {
    oneOf: [
      {
        type: 'object',
        properties: { kind: { const: 'a' }, x: { type: 'integer' } },
        required: ['kind', 'x'],
      },
      {
        type: 'object',
        properties: { kind: { const: 'b' }, y: { type: 'string' } },
        required: ['kind', 'y'],
      },
    ],
  },
  'oneOf of types': {
    oneOf: [{ type: 'integer' }, { type: 'string', maxLength: 4 }, { type: 'null' }],
  },
  'allOf of objects': {
    allOf: [
      { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] },
      {
        type: 'object',
        properties: { b: { type: 'boolean' }, a: { maximum: 5 } },
        required: ['b'],
      },
    ],
  },
  'allOf of limits': {
    allOf: [{ type: 'integer' }, { minimum: 3 }, { maximum: 40 }, { minimum: 7 }],
  },
  'a tree': {
    $ref: '#/$defs/node',
    $defs: {
      node: {
        type: 'object',
        properties: {
          value: { type: 'integer' },
          children: { type: 'array', items: { $ref: '#/$defs/node' }, maxItems: 2 },
        },
        required: ['value'],
      },
    },
  },
  'a list that is linked': {
    type: 'object',
    properties: { head: { type: 'integer' }, tail: { anyOf: [{ type: 'null' }, { $ref: '#' }] } },
    required: ['head', 'tail'],
  },
  'a barren branch': {
    anyOf: [{ $ref: '#/definitions/endless' }, { const: 'end' }],
    definitions: {
      endless: {
        type: 'object',
        properties: { again: { $ref: '#/definitions/endless' } },
        required: ['again'],
      },
    },
  },
  'a reference with a sibling': {
    $defs: { positive: { type: 'integer', minimum: 1 } },
    $ref: '#/$defs/positive',
    maximum: 9,
  },
  'a pointer with escapes': {
    $ref: '#/$defs/a~1b%20c~0',
    $defs: { 'a/b c~': { type: 'boolean' } },
  },
  'a pattern': { type: 'string', pattern: '^[A-Z]{3}-[0-9]{2,4}$' },
  'a pattern anywhere': { type: 'string', pattern: 'b+', maxLength: 12 },
  'a pattern of choices': { type: 'string', pattern: '^(foo|bar(baz)?|[^a-z"\\\\]{1,3})$' },
  'a pattern and lengths': { type: 'string', pattern: '^[a-z]+$', minLength: 4, maxLength: 6 },
  'a pattern that looks ahead': { type: 'string', pattern: '^(?!ab)(?=.*c)[abc]{3,5}$' },
  'two patterns': { allOf: [{ type: 'string', pattern: '^[ab]{2,9}$' }, { pattern: 'ba$' }] },
  'a record': { type: 'object', additionalProperties: { type: 'integer' }, maxProperties: 4 },
  'a record beside names': {
    type: 'object',
    properties: { id: { type: 'integer' } },
    required: ['id'],
    additionalProperties: { type: 'string', maxLength: 4 },
  },
  'names of properties': {
    type: 'object',
    propertyNames: { pattern: '^[a-z]{2,4}$' },
    additionalProperties: { type: 'boolean' },
    minProperties: 1,
    maxProperties: 3,
  },
  'counted properties': {
    type: 'object',
    properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 }, d: { const: 4 } },
    minProperties: 2,
    maxProperties: 3,
    additionalProperties: false,
  },
  formats: {
    type: 'array',
    prefixItems: [
      'date-time',
      'date',
      'time',
      'email',
      'hostname',
      'ipv4',
      'ipv6',
      'uri',
      'uuid',
    ].map(format => ({ type: 'string', format })),
    items: false,
  },
  'only additional properties': { additionalProperties: { enum: [0, 1] }, maxProperties: 2 },
  'a choice of choices': {
    anyOf: [{ anyOf: [{ const: 1 }, { const: 2 }] }, { oneOf: [{ const: 'a' }, { const: 'b' }] }],
  },
  'keys of prototypes': JSON.parse(
    '{"type":"object","properties":{"__proto__":{"type":"integer"},"constructor":{"const":"c"},' +
      '"toString":{"type":"null"}},"required":["__proto__","constructor"]}',
  ),
  'keys to escape': {
    type: 'object',
    properties: { 'a"b\\c': { type: 'null' }, 'naïve\n': { type: 'null' }, '': { type: 'null' } },
    required: ['a"b\\c', 'naïve\n', ''],
  },
}

/** What people write with zod, as a schema and as what checks it. */
export const zodSchemas = {
  person: z.object({ name: z.string(), age: z.number().int().min(0).max(150), email: z.email() }),
  optional: z.object({
    a: z.string().optional(),
    b: z.number().nullable(),
    c: z.boolean().default(true),
  }),
  'enums and literals': z.object({
    kind: z.enum(['a', 'b']),
    one: z.literal(1),
    two: z.literal(['x', 2]),
  }),
  'arrays and tuples': z.object({
    tags: z.array(z.string().max(10)).min(1).max(3),
    pair: z.tuple([z.number(), z.string().max(5)]),
    rest: z.tuple([z.boolean()], z.int()),
  }),
  unions: z.array(z.union([z.string().max(5), z.int(), z.null()])).max(4),
  'discriminated union': z.discriminatedUnion('type', [
    z.object({ type: z.literal('circle'), radius: z.number().positive() }),
    z.object({ type: z.literal('square'), side: z.number().nonnegative() }),
    z.object({ type: z.enum(['line', 'point']), at: z.array(z.number()).length(2) }),
  ]),
  records: z.object({
    open: z.record(z.string(), z.int()),
    closed: z.record(z.enum(['x', 'y']), z.boolean()),
  }),
  strings: z.object({
    length: z.string().length(4),
    upper: z
      .string()
      .regex(/^[A-Z]+$/)
      .max(8),
    begins: z.string().startsWith('a-'),
    ends: z.string().endsWith('-z').max(20),
  }),
  formats: z.object({
    email: z.email(),
    uuid: z.uuid(),
    date: z.iso.date(),
    time: z.iso.time(),
    datetime: z.iso.datetime(),
    ipv4: z.ipv4(),
    url: z.url(),
  }),
  numbers: z.object({
    share: z.number().min(0).max(1),
    positive: z.int().positive(),
    any: z.number(),
  }),
  nested: z.object({ user: z.object({ address: z.object({ city: z.string().max(9) }) }) }),
  'loose and strict': z.object({
    strict: z.strictObject({ a: z.null() }),
    loose: z.looseObject({ a: z.null() }),
    catchall: z.object({ a: z.null() }).catchall(z.int()),
  }),
  intersection: z.intersection(z.object({ a: z.int() }), z.object({ b: z.int() })),
  recursive: z.object({
    name: z.string().max(5),
    get children() {
      return z.array(zodSchemas.recursive).max(2)
    },
  }),
}
