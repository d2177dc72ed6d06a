import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { typeErrors } from '../helpers/type-errors.js'

const lib = join(import.meta.dirname, '..', '..', 'lib')
const electron = join(import.meta.dirname, '..', 'clients/node_modules/electron/electron.d.ts')
const skip = existsSync(electron) ? false : 'npm ci --prefix test/clients installs what it needs'

t.test("sessions of the Prompt API and ports have Electron's types", { skip }, async t => {
  const errors = typeErrors('electron.mts', 'electron', {
    openelm: join(lib, 'index.ts'),
    'openelm/electron': join(lib, 'electron', 'index.ts'),
  })
  t.same(errors, [])
})
