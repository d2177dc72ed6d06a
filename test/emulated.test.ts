import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

/**
 * What the package's tests prove of the CUDA and Metal backends, whose kernels run on the CPU:
 * `npm run build:emulated` makes the addon. A machine that has but one GPU takes it for every model,
 * so that this is what all tests run on which name no other backend. That the ops and whole models
 * compute what they should is for gpu-kernels.test.ts.
 */
const addon = join(import.meta.dirname, '..', 'build', 'emulated', 'openelm.node')
const skip = !existsSync(addon) && 'there is no build/emulated: npm run build:emulated'

/** Files that run code of a backend's own which the tests without Node do not, and what that is. */
const files = {
  'backend.test.ts': 'weights of a released model in every dtype; batches, rewinds and forks',
  'bad-input.test.ts': 'loads that fail half-way; numbers that are none',
  'fallback.test.ts': 'a GPU that cannot be used',
  'lifecycle.test.ts': 'aborts, dispose and the end of the process while a pass is under way',
  'perplexity.test.ts': 'the logits of many tokens at once, read back for scores',
  'sample-ahead.test.ts': 'tokens drawn on the GPU, ahead of the caller',
  'workers.test.ts': 'several backends in one process, ended at any moment',
}

t.test('the package', { skip }, async t => {
  t.jobs = 2
  const spawn = (file: string, backend: string, fault?: string) => {
    const name = `${file} on ${backend}${fault ? `, where its ${fault} fails` : ''}`
    t.test(name, async t => {
      const path = join(import.meta.dirname, file)
      // tap names a file's folder of fixtures by its arguments, too: without them, runs of one file
      // at the same time would write into one folder.
      const run = [backend, ...(fault ? [fault] : [])]
      await t.spawn(process.execPath, [...process.execArgv, path, ...run], {
        env: {
          ...process.env,
          OPENELM_ADDON: addon,
          OPENELM_TEST_BACKEND: backend,
          OPENELM_EMULATED_FAULT: fault,
        },
        timeout: 1_800_000,
      })
    })
  }
  for (const backend of ['cuda', 'metal']) {
    for (const file of Object.keys(files)) spawn(file, backend)
    for (const fault of ['memory', 'driver']) spawn('fallback.test.ts', backend, fault)
  }
})
