import { join } from 'node:path'
import t from 'tap'
import { typeErrors } from '../helpers/type-errors.js'
import { clients, skip } from './installed.js'

const lib = join(import.meta.dirname, '..', '..', 'lib')
const typesOf = (name: string) => join(clients, 'node_modules', name, 'dist', 'index.d.ts')

t.test('the types are those of the specification', { skip }, async t => {
  const packages = ['ai6', 'ai7', 'provider3', 'provider4']
  const errors = typeErrors('ai-sdk.mts', 'ai-sdk', {
    openelm: join(lib, 'index.ts'),
    'openelm/ai-sdk': join(lib, 'ai-sdk', 'index.ts'),
    ...Object.fromEntries(packages.map(name => [name, typesOf(name)])),
  })
  t.same(errors, [])
})
