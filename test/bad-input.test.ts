import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openCheckpoint } from '../lib/checkpoint.js'
import { quantize } from '../lib/convert/quantize.js'
import { OpenELM } from '../lib/index.js'
import { loadNative } from '../lib/native.js'
import { nativeConfig } from '../lib/native-config.js'
import { nativeTensors } from '../lib/native-tensors.js'
import { testBackend } from './helpers/backend.js'
import { testConfigs, writeTestCheckpoint } from './helpers/checkpoints.js'
import { childRunner } from './helpers/child.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const directory = t.testdir({ tiny: {}, child: {} })
const tiny = writeTinyModel(join(directory, 'tiny'))
const runInChild = childRunner(join(directory, 'child'))

// In a process of its own, so that a crash is a failed assertion. checkpoint-damage.test.ts looks at
// the checkpoint alone.
t.test('damaged files give a model that works or an error that names one of them', async t => {
  const { result, exit, stderr } = await runInChild(
    async ({ OpenELM, OpenELMError, usage }, directory) => {
      const { readFileSync, writeFileSync } = await import('node:fs')
      const counts = { works: 0, refused: 0 }
      const surprises: string[] = []
      const tryModel = async (damage: string) => {
        try {
          const model = await OpenELM.load(directory)
          await model.generate([5], { maxTokens: 1 })
          await model.dispose()
          counts.works++
        } catch (error) {
          if (error instanceof OpenELMError && error.message.includes(directory)) counts.refused++
          else surprises.push(`${damage}: ${error}`)
        }
      }
      let state = 1
      const random = (below: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return Math.floor((state / 2 ** 32) * below)
      }

      await tryModel('none')
      const before = usage()
      for (const name of ['model.safetensors', 'config.json']) {
        const file = `${directory}/${name}`
        const intact = readFileSync(file)
        for (let percent = 0; percent < 100; percent++) {
          writeFileSync(file, intact.subarray(0, Math.floor((intact.length * percent) / 100)))
          await tryModel(`${name} cut to ${percent}%`)
        }
        const header = name === 'config.json' ? intact.length : 8 + Number(intact.readBigUInt64LE())
        for (let i = 0; i < 1000; i++) {
          const position = random(header)
          const damaged = Buffer.from(intact)
          damaged[position] = random(256)
          writeFileSync(file, damaged)
          await tryModel(`${name} with byte ${position} ${damaged[position]}`)
        }
        writeFileSync(file, intact)
      }
      await tryModel('none')
      const more = usage().peakMemory - before.peakMemory
      return { ...counts, surprises, more }
    },
    [tiny],
    // V8 gives itself more room for young objects as time goes by; that is not what is measured.
    { flags: ['--max-semi-space-size=1'] },
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  const { works, refused, surprises, more } = result
  t.same(surprises, [])
  t.equal(works + refused, 2 + 2 * 1100)
  t.ok(works > 10 && refused > 1200)
  t.comment(
    `${refused} refused, ${works} worked, at most ${(more / 1e6).toFixed(1)} MB more in use`,
  )
  t.ok(more < 50e6)
})

/** Overwrites the first bytes of a tensor. */
function spoil(directory: string, name: string, bytes: number[]): void {
  const file = join(directory, 'model.safetensors')
  const contents = readFileSync(file)
  const begin = 8 + Number(contents.readBigUInt64LE())
  const header = JSON.parse(contents.toString('utf8', 8, begin))
  contents.set(bytes, begin + header[name].data_offsets[0])
  writeFileSync(file, contents)
}

t.test('what is not a number comes to light', async t => {
  const folder = t.testdir()
  const nan = [0, 0, 0xc0, 0x7f]
  for (const name of ['layers.0.attn.q_norm', 'layers.0.ffn_norm', 'norm']) {
    const dir = join(folder, name)
    writeTestCheckpoint(dir, testConfigs.golden, { dtype: 'F32', seed: 1 })
    spoil(dir, `transformer.${name}.weight`, nan)
    for (const dtype of ['float32', 'bfloat16', 'q8', 'q4'] as const) {
      await using model = await OpenELM.load(dir, { backend: testBackend, dtype })
      const code = 'NON_FINITE_LOGITS'
      await t.rejects(model.generate([5], { maxTokens: 2 }), { code }, `${name} ${dtype}`)
      await t.rejects(model.score([5], [0]), { code }, `${name} ${dtype}`)
    }
  }
})

t.test('a quantised checkpoint whose scale is not a number is refused', async t => {
  const folder = t.testdir()
  for (const dtype of ['q8', 'q4'] as const) {
    const dir = join(folder, dtype)
    writeTestCheckpoint(join(dir, 'in'), testConfigs.golden, { dtype: 'F32', seed: 1 })
    await quantize(join(dir, 'in'), join(dir, 'out'), { dtype })
    spoil(join(dir, 'out'), 'transformer.layers.0.ffn.proj_1.weight_scale', [0, 0x7e])
    await t.rejects(OpenELM.load(join(dir, 'out'), { backend: testBackend }), {
      code: 'INVALID_CHECKPOINT',
      message: /proj_1.weight has a value that is not finite in row 0/,
    })
  }
})

t.test('native code refuses a shape that would take it beyond its memory', async t => {
  const native = join(directory, 'child', 'lib', 'native.js')
  const { result, exit, stderr } = await runInChild(
    async (_, native) => {
      const { loadNative } = (await import(native)) as typeof import('../lib/native.js')
      const good = {
        numLayers: 2,
        modelDim: 8,
        headDim: 4,
        vocabSize: 16,
        maxContextLength: 32,
        numQueryHeads: [2, 2],
        numKvHeads: [1, 1],
        ffnDims: [8, 8],
        ffnWithGlu: true,
        normalizeQkProjections: true,
        shareInputOutputLayers: true,
        ropeFreqConstant: 10000,
        rmsNormEps: 1e-6,
      }
      const options = { threads: 1, maxTokens: 4, recompute: false }
      const bad = [
        { ...good, numQueryHeads: [] },
        { ...good, numKvHeads: [1] },
        { ...good, ffnDims: [8, 8, 8] },
        { ...good, numLayers: 0, numQueryHeads: [], numKvHeads: [], ffnDims: [] },
        { ...good, numLayers: -1 },
        { ...good, numLayers: 2 ** 31 - 1 },
        { ...good, headDim: 3 },
        { ...good, headDim: 0 },
        { ...good, modelDim: -8 },
        { ...good, vocabSize: 0 },
        { ...good, vocabSize: 2 ** 30 },
        { ...good, numKvHeads: [1, 0] },
        { ...good, numQueryHeads: [2, 3], numKvHeads: [1, 2] },
        { ...good, numQueryHeads: [2, 2 ** 30] },
        { ...good, ffnDims: [8, 2 ** 30] },
      ]
      const { Trainer, load } = loadNative()
      const outcome = async (call: () => unknown) => {
        try {
          await call()
          return 'accepted'
        } catch (error) {
          return (error as { code?: string }).code
        }
      }
      const trainer = (more: object) => () =>
        new Trainer({ config: good, ...options, float64: false, ...more })
      const loads = bad.map(config =>
        outcome(
          () =>
            load(
              {
                config,
                tensors: [],
                dtype: 'float32',
                backend: 'cpu',
                deviceIndex: 0,
                threads: 1,
                kvCacheDtype: 'float32',
                mmap: false,
              },
              undefined,
            ).promise,
        ),
      )
      return {
        good: await outcome(trainer({})),
        loads: await Promise.all(loads),
        trainers: await Promise.all(bad.map(config => outcome(trainer({ config })))),
        many: await outcome(trainer({ maxTokens: 2 ** 25 })),
      }
    },
    [native] as const,
  )
  t.same({ exit, stderr }, { exit: 0, stderr: '' })
  const refusals = new Array(15).fill('INVALID_ARGUMENT')
  t.same(result, {
    good: 'accepted',
    loads: refusals,
    trainers: refusals,
    many: 'INVALID_ARGUMENT',
  })
})

t.test('native code refuses a context that would overflow its arithmetic', async t => {
  const checkpoint = await openCheckpoint(tiny)
  const model = await loadNative().load(
    {
      config: nativeConfig(checkpoint.config),
      tensors: nativeTensors(checkpoint),
      dtype: 'float32',
      backend: testBackend,
      deviceIndex: 0,
      threads: 1,
      kvCacheDtype: 'float32',
      mmap: false,
    },
    undefined,
  ).promise
  const none = [new Int32Array(), new Float32Array()] as const
  for (const length of [0, -1, 2 ** 20 + 1, 2 ** 31 - 1, 2 ** 32]) {
    t.throws(
      () => model.createSession(length, ...none),
      { code: 'INVALID_ARGUMENT' },
      String(length),
    )
  }
  model.createSession(64, ...none).dispose()
  await model.dispose()
})

t.test('of several errors in a tensor the first is told, whatever the threads do', async t => {
  const folder = t.testdir()
  const [rows, cols] = [4000, 32]
  const values = new Float32Array(rows * cols)
  for (const row of [5, 1000, 3000]) values[row * cols] = Number.NaN
  const file = join(folder, 'matrix')
  writeFileSync(file, values)
  const tensor = { name: 'wide', file, offset: 0, dtype: 'F32' as const, rows, cols }
  for (const threads of [1, 2, 4, 7]) {
    for (let i = 0; i < 20; i++) {
      await t.rejects(loadNative().quantize(tensor, 'q8', threads), {
        code: 'INVALID_CHECKPOINT',
        message: 'tensor wide has a value that is not finite in row 5',
      })
    }
  }
})
