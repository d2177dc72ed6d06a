import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCompanions } from '../lib/companions.js'

t.test('what a copy of a model needs to speak and to end as the model does', async t => {
  const directory = t.testdir()
  t.same(await readCompanions(directory), new Map())
  const names = [
    'tokenizer.json',
    'tokenizer_config.json',
    'chat_template.jinja',
    'generation_config.json',
  ]
  for (const name of [...names, 'README.md']) writeFileSync(join(directory, name), name)
  const companions = await readCompanions(directory)
  t.same([...companions.keys()], names)
  for (const [name, content] of companions) t.equal(Buffer.from(content).toString(), name)
})

t.test('one that cannot be read is an error', async t => {
  const directory = t.testdir()
  mkdirSync(join(directory, 'chat_template.jinja'))
  await t.rejects(readCompanions(directory), { code: 'IO_ERROR', message: /chat_template.jinja/ })
})
