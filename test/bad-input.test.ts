import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { quantize } from '../lib/cli/quantize.js'
import { OpenELM } from '../lib/index.js'
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
    await quantize.parseAsync([join(dir, 'in'), join(dir, 'out'), '--dtype', dtype], {
      from: 'user',
    })
    spoil(join(dir, 'out'), 'transformer.layers.0.ffn.proj_1.weight_scale', [0, 0x7e])
    await t.rejects(OpenELM.load(join(dir, 'out'), { backend: testBackend }), {
      code: 'INVALID_CHECKPOINT',
      message: /proj_1.weight has a value that is not finite in row 0/,
    })
  }
})
