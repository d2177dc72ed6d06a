import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { initTiny, succeed } from '../helpers/cli.js'
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
