import { once } from 'node:events'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { dequantizeCheckpoint, relativeError, writeTestCheckpoint } from '../helpers/checkpoints.js'
import { generateJson, initTiny, run, start, succeed } from '../helpers/cli.js'
import { testConfigs } from '../helpers/configs.js'

t.jobs = 4

const tiny = await initTiny(t)

for (const dtype of ['q8', 'q4'] as const) {
  t.test(`quantize to ${dtype} keeps the matrices closely and the norms exactly`, async t => {
    const dir = t.testdir({ in: { 'tokenizer.json': '{}' } })
    const [input, output] = [join(dir, 'in'), join(dir, 'out')]
    const config = testConfigs['odder-widths']
    const { weights } = writeTestCheckpoint(input, config, { dtype: 'F16', seed: 3 })
    await succeed(t, 'quantize', input, output, '--dtype', dtype)

    t.same(readdirSync(output).sort(), ['config.json', 'model.safetensors', 'tokenizer.json'])
    const quantized = dequantizeCheckpoint(join(output, 'model.safetensors'))
    t.same([...quantized.keys()].sort(), [...weights.keys()].sort())
    for (const [name, values] of quantized) {
      const bound = name.endsWith('norm.weight') ? 0 : dtype === 'q8' ? 0.01 : 0.12
      const error = relativeError(values, weights.get(name)!)
      t.ok(error <= bound, `${name}: ${error}`)
    }

    const again = await run('quantize', output, join(dir, 'again'), '--dtype', dtype)
    t.equal(again.code, 2)
    t.match(again.stderr, `is quantised already, as ${dtype} [INVALID_ARGUMENT]`)
  })
}

t.test('a directory that quantize was killed over is complete or is no model', async t => {
  const dir = t.testdir({ in: {} })
  const input = join(dir, 'in')
  writeTestCheckpoint(input, testConfigs['odder-widths'], { dtype: 'F16', seed: 3 })
  const tokenizer = Buffer.alloc(30_000_000, ' ')
  writeFileSync(join(input, 'tokenizer.json'), tokenizer)
  for (let kill = 0; kill < 8; kill++) {
    const output = join(dir, `out-${kill}`)
    const child = start(['quantize', input, output, '--dtype', 'q8'])
    const closed = once(child, 'close')
    const names = () => (existsSync(output) ? readdirSync(output) : [])
    const goal = ['model.safetensors', 'config.json'][kill % 2]!
    while (!names().includes(goal) && child.exitCode === null) await setTimeout(1)
    await setTimeout(kill >> 1)
    child.kill('SIGKILL')
    await closed
    if (!names().includes('config.json')) continue
    t.equal(statSync(join(output, 'tokenizer.json')).size, tokenizer.length, `kill ${kill}`)
  }
})

t.test(
  'a tokenizer that cannot be copied ends quantize and average with nothing written',
  async t => {
    const dir = t.testdir({ in: { 'tokenizer.json': {} } })
    const [input, output] = [join(dir, 'in'), join(dir, 'out')]
    writeTestCheckpoint(input, testConfigs['odder-widths'], { dtype: 'F16', seed: 3 })
    for (const args of [
      ['quantize', input, output, '--dtype', 'q8'],
      ['average', input, output],
    ]) {
      const { code, stderr } = await run(...args)
      t.equal(code, 1)
      t.match(stderr, /cannot read .*tokenizer\.json.* \[IO_ERROR\]/)
      t.notOk(existsSync(output))
    }
  },
)

t.test('quantize takes the padded vocabulary and the names of CoreNet', async t => {
  const dir = t.testdir()
  const padded = { ...testConfigs.golden, vocab_size: 128 }
  const input = join(dir, 'in')
  const options = { dtype: 'BF16', seed: 4, coreNetNames: true } as const
  const { weights } = writeTestCheckpoint(input, padded, options)
  writeFileSync(join(input, 'config.json'), JSON.stringify(testConfigs.golden))
  await succeed(t, 'quantize', input, join(dir, 'out'), '--dtype', 'q8')

  const quantized = dequantizeCheckpoint(join(dir, 'out', 'model.safetensors'))
  const name = 'transformer.token_embeddings.weight'
  const rows = weights.get(name)!.subarray(0, 97 * padded.model_dim)
  t.ok(relativeError(quantized.get(name)!, rows) < 0.01)
})

t.test('generate runs a quantised checkpoint', async t => {
  const dir = join(t.testdir(), 'q8')
  await succeed(t, 'quantize', tiny, dir, '--dtype', 'q8')
  const stored = await generateJson(t, dir, '--max-tokens', '8', 'Hello')
  const loaded = await generateJson(t, tiny, '--dtype', 'q8', '--max-tokens', '8', 'Hello')
  t.same(stored.tokens, loaded.tokens, 'as quantising while loading does')
})
