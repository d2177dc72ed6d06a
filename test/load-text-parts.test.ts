import t from 'tap'
import type { Checkpoint } from '../lib/checkpoint.js'
import { presets } from '../lib/config.js'
import * as errors from '../lib/errors.js'
import { loadTextParts } from '../lib/load-text-parts.js'

const nothingGiven = { tokenizer: undefined, chatTemplate: undefined }
const released = {
  directory: t.testdir(),
  config: presets['270M'],
  eosTokenIds: [2, 7],
} as unknown as Checkpoint

t.test('a released model has LLaMA’s vocabulary, and its own end tokens', async t => {
  const { tokenizer, chatTemplate } = await loadTextParts(released, nothingGiven)
  t.match(tokenizer, { vocabSize: 32000, eosTokenIds: [2, 7] })
  t.match(chatTemplate, { defaultSystem: '' })
})

t.test('a vocabulary that does not fit is told where it is needed', async t => {
  const small = { ...released, config: { ...presets['270M'], vocabSize: 300 } }
  const { tokenizer } = await loadTextParts(small, nothingGiven)
  t.ok(tokenizer instanceof errors.OpenELMError)
  t.match(tokenizer, { code: 'INVALID_TOKENIZER' })
})

t.test('one that could not be read ends the load', async t => {
  const loadTokenizer = async () => {
    throw new errors.OpenELMError('IO_ERROR', 'EMFILE')
  }
  const { loadTextParts } = await t.mockImport<typeof import('../lib/load-text-parts.js')>(
    '../lib/load-text-parts.js',
    { '../lib/tokenizer.js': { loadTokenizer }, '../lib/errors.js': errors },
  )
  await t.rejects(loadTextParts(released, nothingGiven), { code: 'IO_ERROR', message: 'EMFILE' })
})
