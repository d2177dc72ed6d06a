import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { configToJson, parseConfig, presets } from '../lib/config.js'
import { readEosTokenIds } from '../lib/generation-config.js'

const listed = parseConfig(
  { ...configToJson(presets['270M'], 'float32'), eos_token_id: [2, 7] },
  'config.json',
)

t.test('end tokens are those of generation_config.json, else those of config.json', async t => {
  const directory = t.testdir()
  const file = join(directory, 'generation_config.json')
  t.same(await readEosTokenIds(directory, presets['270M']), [2])
  t.same(await readEosTokenIds(directory, listed), [2, 7])
  const cases: [unknown, number[]][] = [
    [5, [5]],
    [
      [5, 2],
      [5, 2],
    ],
    [[5, 32000], [5]],
    [null, [2, 7]],
    [undefined, [2, 7]],
  ]
  for (const [eos_token_id, expected] of cases) {
    writeFileSync(file, JSON.stringify({ eos_token_id }))
    t.same(await readEosTokenIds(directory, listed), expected)
  }
  writeFileSync(file, '\ufeff{"eos_token_id": 5, "eos_token_id": 6}')
  t.same(await readEosTokenIds(directory, listed), [6], 'as Python reads it')
})

t.test('what it cannot be is refused by name', async t => {
  const directory = t.testdir()
  const file = join(directory, 'generation_config.json')
  for (const eos_token_id of ['2', -1, 1.5, [2, null], [[2]], {}]) {
    writeFileSync(file, JSON.stringify({ eos_token_id }))
    const message = `${file}: expected eos_token_id to be a token id or a list of them, received `
    await t.rejects(readEosTokenIds(directory, listed), { code: 'INVALID_CONFIG', message })
  }
  writeFileSync(file, '[')
  await t.rejects(readEosTokenIds(directory, listed), { code: 'INVALID_CONFIG', message: file })
  const other = t.testdir()
  mkdirSync(join(other, 'generation_config.json'))
  await t.rejects(readEosTokenIds(other, listed), { code: 'IO_ERROR' })
})
