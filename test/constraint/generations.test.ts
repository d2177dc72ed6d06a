import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { z } from 'zod'
import { compile, randomText, seeded } from '../helpers/constrained.js'
import { schemas, zodSchemas } from './schemas.js'

/** OPENELM_TEST_GENERATIONS=10000 for as many as a release wants. */
const total = Number(process.env.OPENELM_TEST_GENERATIONS ?? 300)
const ajv = new Ajv2020({ strict: false, validateFormats: false, ownProperties: true })

t.test('what random scores choose fits its schema', async t => {
  const each = Math.ceil(total / Object.keys(schemas).length)
  t.ok(Object.keys(schemas).length >= 60, 'at least 60 schemas')
  let unfinished = 0
  for (const [name, schema] of Object.entries(schemas)) {
    const isValid = ajv.compile(schema)
    const constraint = await compile(schema)
    const random = seeded(1)
    const wrong: string[] = []
    for (let i = 0; i < each; i++) {
      const text = randomText(constraint, random)
      if (text === undefined) unfinished++
      else if (!isValid(parsed(text))) wrong.push(text)
    }
    t.same(wrong.slice(0, 3), [], name)
  }
  t.comment(`${each} texts of each schema, of which ${unfinished} had not ended after 600 tokens`)
  t.ok(unfinished < total / 20, 'nearly all end')
})

t.test('what random scores choose fits the everyday schemas of zod', async t => {
  for (const [name, schema] of Object.entries(zodSchemas)) {
    for (const io of ['input', 'output'] as const) {
      const constraint = await compile(z.toJSONSchema(schema, { io }))
      const random = seeded(2)
      const wrong: string[] = []
      for (let i = 0; i < Math.ceil(total / 100); i++) {
        const text = randomText(constraint, random)
        if (text === undefined) continue
        const { success, error } = schema.safeParse(parsed(text))
        if (!success) wrong.push(`${text}: ${error.message}`)
      }
      t.same(wrong.slice(0, 3), [], `${name}, ${io}`)
    }
  }
})

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return Symbol(text)
  }
}
