import { join } from 'node:path'
import t, { type Test } from 'tap'
import { OpenELM } from '../lib/index.js'
import { testBackend } from './helpers/backend.js'
import { testConfigs, writeTestCheckpoint } from './helpers/checkpoints.js'
import { writeTinyModel } from './helpers/tiny-model.js'

/** What emulated.test.ts has told the emulated machine to get wrong. */
const fault = process.env.OPENELM_EMULATED_FAULT as 'memory' | 'driver' | undefined
const codes = {
  memory: 'OUT_OF_MEMORY',
  driver: testBackend === 'cuda' ? 'INTERNAL' : 'BACKEND_UNAVAILABLE',
}

if (testBackend === 'cpu') {
  t.pass('there is nothing to fall back from', { skip: 'needs a GPU, or an emulated one' })
} else {
  const directory = t.testdir({ tiny: {}, wide: {} })
  const tiny = writeTinyModel(join(directory, 'tiny'))

  const fallsBack = async (t: Test, source: string, code: string) => {
    await t.rejects(OpenELM.load(source, { backend: testBackend }), { code })
    await using model = await OpenELM.load(source)
    t.equal(model.backend, 'cpu')
    t.equal((await model.generate([1, 2], { maxTokens: 3, ignoreEos: true })).tokens.length, 3)
  }

  if (fault) {
    t.test(`auto takes the CPU where the GPU fails: ${fault}`, async t => {
      await fallsBack(t, tiny, codes[fault])
    })
  } else {
    t.test('auto takes a GPU that works', async t => {
      await using model = await OpenELM.load(tiny)
      t.equal(model.backend, testBackend)
    })

    t.test('auto takes the CPU for heads that the GPU kernels cannot hold', async t => {
      const wide = writeTinyModel(join(directory, 'wide'))
      const config = {
        ...testConfigs['one-layer'],
        model_dim: 320,
        head_dim: 320,
        num_gqa_groups: 1,
      }
      writeTestCheckpoint(wide, config, { dtype: 'F32', seed: 1 })
      await fallsBack(t, wide, 'BACKEND_UNAVAILABLE')
    })
  }
}
