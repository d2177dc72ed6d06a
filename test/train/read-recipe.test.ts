import { join } from 'node:path'
import t from 'tap'
import { readRecipe } from '../../lib/train/index.js'

const dir = t.testdir({
  'recipe.json': '\ufeff{ "steps": 10, "packing": true, "data": ["book.txt"] }',
  'unknown.json': '{ "stepz": 10 }',
  'twice.json': '{ "steps": 10, "steps": 20 }',
  'list.json': '[]',
  'shape.json': '{ "config": {} }',
})

t.test('a recipe holds options of train', async t => {
  const recipe = await readRecipe(join(dir, 'recipe.json'))
  t.same(recipe, { steps: 10, packing: true, data: ['book.txt'] })
})

t.test('what is no recipe is refused, and the file is named', async t => {
  const messages = {
    unknown: /unknown\.json: there is no option stepz/,
    twice: /twice\.json: malformed JSON/,
    list: /list\.json: expected a JSON object/,
    shape: /shape\.json: there is no option config/,
  }
  for (const [name, message] of Object.entries(messages)) {
    const file = join(dir, `${name}.json`)
    await t.rejects(readRecipe(file), { code: 'INVALID_CONFIG', message })
  }
  await t.rejects(readRecipe(join(dir, 'missing.json')), { code: 'IO_ERROR' })
})
