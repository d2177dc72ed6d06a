import { join } from 'node:path'
import t from 'tap'
import { initTiny, run, succeed } from '../helpers/cli.js'
import { writeRandomAdapter } from '../helpers/random-adapter.js'

const dir = t.testdir()
const model = await initTiny(t)
const [lora, dora] = [join(dir, 'lora'), join(dir, 'dora')]
const text = join(import.meta.dirname, 'adapter.test.ts')
await writeRandomAdapter(lora, model)
await writeRandomAdapter(dora, model, 'dora')

t.test('commands that run a model run it with an adapter', async t => {
  const perplexity = async (dir: string, ...adapter: string[]) => {
    const args = ['perplexity', text, '-m', dir, '--backend', 'cpu', '--json', ...adapter]
    return JSON.parse(await succeed(t, ...args)).perplexity as number
  }
  const bare = await perplexity(model)
  const halved = await perplexity(model, '--adapter', `${lora}=0.5`)
  const others = [
    await perplexity(model, '--adapter', lora),
    await perplexity(model, '--adapter', dora),
  ]
  t.equal(new Set([bare, halved, ...others]).size, 4)
  t.equal(await perplexity(model, '--adapter', `${lora}=0`), bare)
  const merged = join(dir, 'merged')
  const merge = ['merge', merged, '-m', model, '--adapter', `${lora}=0.5`, '--dtype', 'float32']
  t.equal((await run(...merge)).code, 0)
  t.ok(Math.abs(halved / (await perplexity(merged)) - 1) < 1e-5)
})

t.test('one that has learnt beside quantised weights is told of others', async t => {
  const adapter = await writeRandomAdapter(join(dir, 'of q4'), model, 'lora', 'q4')
  const remark = /of q4 has learnt beside q4 weights and makes up for their errors; these are /
  const args = ['-m', model, '--adapter', adapter]
  const limits = ['--backend', 'cpu', '--max-tokens', '1']
  const told = await run('generate', 'x', ...args, ...limits)
  t.match(told, { code: 0, stderr: remark })
  const fitting = await run('generate', 'x', ...args, ...limits, '--dtype', 'q4')
  t.same({ code: fitting.code, stderr: fitting.stderr }, { code: 0, stderr: '' })
  t.match(await run('merge', join(dir, 'of-q4'), ...args), { code: 0, stderr: remark })
  t.match(await succeed(t, 'inspect', adapter), /^learnt beside +q4 weights$/m)
})

t.test('wrong usage', async t => {
  const fail = async (args: string[], code: number, message: RegExp) => {
    const result = await run('generate', 'x', '-m', model, '--backend', 'cpu', ...args)
    t.equal(result.code, code)
    t.match(result.stderr, message)
  }
  await fail(['--adapter', `${lora}=half`], 2, /Expected a number behind =/)
  await fail(['--adapter', lora, '--adapter', dora], 2, /Expected one adapter/)
  await fail(['--adapter', join(dir, 'none')], 1, /none/)
  for (const command of ['generate', 'chat', 'perplexity', 'bench', 'evaluate', 'serve']) {
    t.match(await succeed(t, command, '--help'), /--adapter <dir>/, command)
  }
})
