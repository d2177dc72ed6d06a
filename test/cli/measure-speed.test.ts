import t from 'tap'
import {
  arbitraryTokens,
  bytesPerToken,
  contextLengthFor,
  measureSpeed,
  promptOperations,
  quantile,
} from '../../lib/cli/measure-speed.js'
import { OpenELM, parseConfig, presets } from '../../lib/index.js'
import { testConfigs } from '../helpers/checkpoints.js'
import { writeTinyModel } from '../helpers/tiny-model.js'

t.test('a plan gives one test for each length, with each repetition', async t => {
  const source = writeTinyModel(t.testdir(), { ...testConfigs.golden, vocab_size: 300 })
  const plan = { prompts: [3, 17], generated: 5, depths: [40], repetitions: 2 }
  const contextLength = contextLengthFor(plan)
  t.equal(contextLength, 40 + 33)
  await using model = await OpenELM.load(source, { backend: 'cpu', dtype: 'q8', contextLength })
  const progress: [number, number][] = []
  const tests = await measureSpeed(model, plan, undefined, (...at) => progress.push(at))
  t.same(
    tests.map(({ name, tokensPerSecond }) => [name, tokensPerSecond.length]),
    [
      ['pp3', 2],
      ['pp17', 2],
      ['tg5', 2],
      ['tg32@d40', 2],
    ],
  )
  t.ok(tests.flatMap(({ tokensPerSecond }) => tokensPerSecond).every(speed => speed > 0))
  t.equal(tests[2]!.tokenMs!.length, 2 * 4)
  const total = 2 * (3 + 17 + 5 + 40 + 33)
  t.same(
    [progress[0], progress.at(-1)],
    [
      [0, total],
      [total, total],
    ],
  )

  const controller = new AbortController()
  const reason = new Error('enough')
  const stop = (tokens: number) => tokens > 50 && controller.abort(reason)
  await t.rejects(measureSpeed(model, plan, controller.signal, stop), reason)
})

t.test('an empty plan measures nothing', async t => {
  await using model = await OpenELM.load(writeTinyModel(t.testdir()), { backend: 'cpu' })
  const plan = { prompts: [], generated: 0, depths: [], repetitions: 1 }
  t.same(await measureSpeed(model, plan), [])
})

t.test('what a token and a prompt need', async t => {
  const config = presets['270M']
  t.equal(bytesPerToken(config, 'bfloat16'), 2 * 271_527_168)
  const untied = parseConfig({ ...testConfigs.golden, share_input_output_layers: false }, 'untied')
  const tied = parseConfig(testConfigs.golden, 'golden')
  t.equal(bytesPerToken(untied, 'q4'), bytesPerToken(tied, 'q4'), 'the embedding is not read')

  const [layerWeights, queryDims, headWeights] = [230_522_880, 16_128, 32_000 * 1280]
  for (const tokens of [1, 512]) {
    const pairs = (tokens * tokens) / 2
    const multiplyAdds = tokens * layerWeights + 2 * queryDims * pairs + headWeights
    t.equal(promptOperations(config, tokens), 2 * multiplyAdds)
  }
})

t.test('quantile interpolates', async t => {
  t.equal(quantile([3, 1, 2], 0.5), 2)
  t.equal(quantile([1, 2], 0.5), 1.5)
  t.equal(quantile([5], 0.99), 5)
  t.equal(quantile([0, 10], 0.99), 9.9)
})

t.test('arbitrary tokens are in the vocabulary, and none is a control token', async t => {
  const tokens = arbitraryTokens(1000, { vocabSize: 97 })
  t.ok(tokens.every(token => token >= 3 && token < 97))
  t.ok(new Set(tokens).size > 90)
})
