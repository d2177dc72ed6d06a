import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

/**
 * The test-suite of the package on the CUDA and Metal backends, whose kernels run on the CPU:
 * `npm run build:emulated` makes the addon. A machine that has but one GPU takes it for every model,
 * so that this is what all tests run on which name no other backend.
 */
const addon = join(import.meta.dirname, '..', 'build', 'emulated', 'openelm.node')
const skip = !existsSync(addon) && 'there is no build/emulated: npm run build:emulated'

/** Files that have nothing to do with a GPU, and why. All others run. */
const optOuts = new Map([
  ...filesFor('they run no model', [
    'checkpoint-damage.test.ts',
    'checkpoint.test.ts',
    'config.test.ts',
    'conversation.test.ts',
    'errors.test.ts',
    'floats.test.ts',
    'gguf/blocks.test.ts',
    'gguf/convert.test.ts',
    'gguf/damage.test.ts',
    'helpers/checkpoints.test.ts',
    'llama-vocabulary.test.ts',
    'native.test.ts',
    'oracle-file.test.ts',
    'reference.test.ts',
    'safetensors.test.ts',
    'sampler.test.ts',
    'strict-json.test.ts',
    'tensor-headers.test.ts',
    'tokenizer.test.ts',
    'weight-files.test.ts',
    'write-checkpoint.test.ts',
  ]),
  ...filesFor('they are about the cpu backend', [
    'bench.test.ts',
    'bitwise.test.ts',
    'kernels.test.ts',
  ]),
  ...filesFor(
    'training is for the CPU',
    files('train').map(name => `train/${name}`),
  ),
  ...filesFor('they are about what ships', ['package.test.ts']),
  ...filesFor('the command line is the same on every backend', ['cli.test.ts']),
  ...filesFor('it measures the memory of the process, and a GPU has its own', ['memory.test.ts']),
  ...filesFor('it reads more text than an emulator can in minutes', ['nano.test.ts']),
  ...filesFor('they run emulated GPUs themselves', ['emulated.test.ts', 'gpu-kernels.test.ts']),
])

function filesFor(reason: string, names: string[]): [file: string, reason: string][] {
  return names.map(name => [name, reason])
}

function files(folder = ''): string[] {
  const names = readdirSync(join(import.meta.dirname, folder), {
    recursive: true,
    encoding: 'utf8',
  })
  return names.filter(name => name.endsWith('.test.ts')).sort()
}

t.test('every file that opts out is there', async t => {
  t.strictSame(
    [...optOuts.keys()].filter(name => !files().includes(name)),
    [],
  )
})

t.test('the suite', { skip }, async t => {
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
    for (const file of files()) if (!optOuts.has(file)) spawn(file, backend)
    for (const fault of ['memory', 'driver']) spawn('fallback.test.ts', backend, fault)
  }
})
