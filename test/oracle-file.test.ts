import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { relativeError } from './helpers/checkpoints.js'
import { formatOracleCases } from './helpers/oracle-file.js'

/** OPENELM_WRITE_ORACLE=1 writes the file anew. */
const file = join(import.meta.dirname, 'data', 'oracle-logits.txt')

t.test('the file for the tests without Node holds what the oracle says', async t => {
  const text = formatOracleCases()
  if (process.env.OPENELM_WRITE_ORACLE) writeFileSync(file, text)
  const numbers = (text: string) => Float64Array.from(text.trim().split(/\s+/), Number)
  t.ok(relativeError(numbers(readFileSync(file, 'utf8')), numbers(text)) < 1e-9)
})
