import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { generateJson, initTiny, root, run, succeed } from '../helpers/cli.js'
import { readSafetensors } from '../helpers/safetensors.js'

const tiny = await initTiny(t)

t.test('convert makes a GGUF file and a checkpoint of it again', async t => {
  const dir = t.testdir()
  const [gguf, output] = [join(dir, 'tiny.gguf'), join(dir, 'out')]
  await succeed(t, 'convert', tiny, gguf, '--dtype', 'f32')
  await succeed(t, 'convert', gguf, output)
  t.same(readdirSync(output).sort(), ['config.json', 'model.safetensors'])
  const tensors = (model: string) => readSafetensors(join(model, 'model.safetensors')).size
  t.equal(tensors(output), tensors(tiny))
})

t.test(
  'convert makes a checkpoint or safetensors of a PyTorch file, and average means of several',
  async t => {
    const dir = t.testdir()
    const data = join(root, 'test', 'torch', 'data')
    const [file, shape] = [join(data, 'training.pt'), join(data, 'tiny.json')]
    const [model, mean, adapter] = [
      join(dir, 'model'),
      join(dir, 'mean'),
      join(dir, 'a.safetensors'),
    ]
    await succeed(t, 'convert', file, model, '--config', shape)
    await succeed(t, 'average', file, file, mean, '--config', shape)
    await succeed(t, 'convert', file, adapter)
    const bytes = (directory: string) => readFileSync(join(directory, 'model.safetensors'))
    t.ok(bytes(mean).equals(bytes(model)))
    t.same(readSafetensors(adapter).get('norm.weight')!.shape, [8])
    t.same(readSafetensors(adapter).get('token_embeddings.weight')!.shape, [16, 8])
  },
)

t.test('convert --pack makes a checkpoint that generates the same', async t => {
  const dir = t.testdir()
  const packed = join(dir, 'packed')
  await succeed(t, 'convert', '--pack', tiny, packed)
  const options = ['--max-tokens', '8', 'Hello']
  const expected = await generateJson(t, tiny, ...options)
  for (const more of [[], ['--no-mmap']]) {
    t.same((await generateJson(t, packed, ...more, ...options)).tokens, expected.tokens)
  }
  t.match(await succeed(t, 'inspect', packed), /stored as +\w+, packed, /)
  for (const [args, message] of [
    [[tiny, join(dir, 'other'), '--dtype', 'q8_0'], '--dtype is for GGUF files'],
    [[join(dir, 'a.gguf'), join(dir, 'other')], '--pack is for model directories'],
    [[packed, join(dir, 'other')], 'is packed; take the checkpoint that it was made of'],
  ] as const) {
    const { code, stderr } = await run('convert', '--pack', ...args)
    t.equal(code === 0, false)
    t.match(stderr, message)
  }
})
