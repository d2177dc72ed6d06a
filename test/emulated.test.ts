import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

/**
 * The tests that hold for every backend, on the CUDA and Metal backends whose kernels run on the CPU:
 * `npm run build:emulated` makes the addon.
 */
const addon = join(import.meta.dirname, '..', 'build', 'emulated', 'openelm.node')
const skip = !existsSync(addon) && 'there is no build/emulated: npm run build:emulated'

for (const backend of ['cuda', 'metal']) {
  for (const file of ['backend.test.ts', 'logits.test.ts']) {
    t.test(`${file} on ${backend}`, { skip }, async t => {
      await t.spawn(process.execPath, [...process.execArgv, join(import.meta.dirname, file)], {
        env: { ...process.env, OPENELM_ADDON: addon, OPENELM_TEST_BACKEND: backend },
        timeout: 600_000,
      })
    })
  }
}
