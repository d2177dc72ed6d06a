import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { writeGoldenModel, writePeft } from '../adapters/golden-adapter.js'
import { run, succeed } from '../helpers/cli.js'

const dir = t.testdir()
const [model, adapter] = [join(dir, 'model'), join(dir, 'adapter')]
writeGoldenModel(model)
writePeft(adapter, { embedding: true })

t.test('merge writes a model that runs, and says what became of the adapter', async t => {
  const out = join(dir, 'merged')
  const args = ['merge', out, '-m', model, '--adapter', adapter, `${adapter}=-0.5`]
  const { code, stdout, stderr } = await run(...args)
  t.same({ code, stdout }, { code: 0, stdout: '' })
  t.match(stderr, /13 matrices changed, stored as float32/)
  t.match(stderr, /kept of the change: 100% at least, 100% typically/)
  t.match(stderr, /the output matrix is one of its own now/)
  t.match(await succeed(t, 'inspect', out), /lm_head|parameters/)
})

t.test('a change that the number format loses is a warning', async t => {
  const args = ['merge', join(dir, 'lost'), '-m', model, '--adapter', `${adapter}=0.001`]
  const { stderr } = await run(...args, '--dtype', 'bfloat16')
  t.match(stderr, /bfloat16 loses a good part of the adapter; --dtype float32 does not/)
})

t.test('wrong usage', async t => {
  const out = join(dir, 'wrong')
  const fail = async (args: string[], code: number, message: RegExp) => {
    const result = await run('merge', out, ...args)
    t.equal(result.code, code)
    t.match(result.stderr, message)
    t.notOk(existsSync(out))
  }
  await fail(['-m', model], 2, /--adapter/)
  await fail(['--adapter', adapter], 2, /-m, --model/)
  await fail(['-m', model, '--adapter', `${adapter}=half`], 2, /Expected a number behind =/)
  await fail(['-m', model, '--adapter', join(dir, 'none')], 1, /none/)
})

t.test('convert makes a GGUF file of an adapter', async t => {
  const [plain, file] = [join(dir, 'plain'), join(dir, 'adapter.gguf')]
  writePeft(plain, {})
  await succeed(t, 'convert', plain, file, '-m', model, '--dtype', 'f16')
  t.ok(existsSync(file))
  const { code, stderr } = await run('convert', file, join(dir, 'x'), '-m', model)
  t.equal(code, 2)
  t.match(stderr, /-m is for adapters/)
})
