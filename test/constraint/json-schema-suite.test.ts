import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Constraint } from '../../lib/constraint/constraint.js'
import { compile } from '../helpers/constrained.js'

const folder = join(import.meta.dirname, '..', 'data', 'json-schema-test-suite')

interface Group {
  description: string
  schema: unknown
  tests: { description: string; data: unknown; valid: boolean }[]
}

/** Of a schema with a part that is not supported, the error; else what it compiles to. */
async function compiled(schema: unknown): Promise<Constraint | undefined> {
  try {
    // A schema that is true or false has a keyword around it.
    return await compile(typeof schema === 'boolean' ? { allOf: [schema] } : schema)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code !== 'INVALID_ARGUMENT') throw error
    if (/^nothing that can be written fits/.test(message)) return undefined
    if (/^the schema has \S+ at #/.test(message)) return undefined
    throw error
  }
}

t.test('nothing invalid is accepted in the JSON Schema Test Suite', async t => {
  const counts = { groups: 0, compiled: 0, valid: 0, accepted: 0, invalid: 0 }
  for (const file of readdirSync(folder).filter(name => name.endsWith('.json'))) {
    for (const group of JSON.parse(readFileSync(join(folder, file), 'utf8')) as Group[]) {
      counts.groups++
      const constraint = await compiled(group.schema)
      if (!constraint) continue
      counts.compiled++
      for (const { description, data, valid } of group.tests) {
        const is = constraint.accepts(JSON.stringify(data))
        if (valid) {
          counts.valid++
          if (is) counts.accepted++
        } else {
          counts.invalid++
          if (is) t.fail(`${file}: ${group.description}: ${description}`)
        }
      }
    }
  }
  const { groups, compiled: usable, valid, accepted, invalid } = counts
  const share = Math.round((100 * accepted) / valid)
  t.comment(`${usable} of ${groups} schemas compile`)
  t.comment(`${accepted} of ${valid} valid instances are accepted (${share} %)`)
  t.ok(invalid > 150, `${invalid} invalid instances are refused`)
  t.ok(usable / groups > 0.75, 'most schemas compile')
  t.ok(accepted / valid > 0.75, 'most valid instances are accepted')
})
