import t from 'tap'
import { arbitraryTokens, bench, bytesPerToken, promptOperations, quantile } from '../lib/bench.js'
import { parseConfig, presets } from '../lib/config.js'
import { loadNative } from '../lib/native.js'
import { testConfigs } from './helpers/checkpoints.js'
import { writeTinyModel } from './helpers/tiny-model.js'

t.test('a plan gives one test for each length, with each repetition', async t => {
  const model = writeTinyModel(t.testdir(), { ...testConfigs.golden, vocab_size: 300 })
  const plan = { prompts: [3, 17], generated: 5, depths: [40], repetitions: 2 }
  const result = await bench(model, { backend: 'cpu', threads: 2, dtype: 'q8' }, plan)
  t.match(result, { dtype: 'q8', config: { vocabSize: 300 } })
  t.same(
    result.tests.map(({ name, tokensPerSecond }) => [name, tokensPerSecond.length]),
    [
      ['pp3', 2],
      ['pp17', 2],
      ['tg5', 2],
      ['tg32@d40', 2],
    ],
  )
  const positive = result.tests.flatMap(({ tokensPerSecond }) => tokensPerSecond)
  t.ok([...positive, result.loadMs, result.weightBytes].every(value => value > 0))
  t.equal(result.tests[2]!.tokenMs!.length, 2 * 4)
  t.ok(result.peakMemory > 2 ** 20)
})

t.test('an empty plan only loads', async t => {
  const model = writeTinyModel(t.testdir())
  const plan = { prompts: [], generated: 0, depths: [], repetitions: 1 }
  t.same((await bench(model, { backend: 'cpu' }, plan)).tests, [])
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

t.test('the speed of the machine', async t => {
  const { readBandwidth, floatPeak } = await loadNative().measureMachine(2)
  t.ok(readBandwidth > 1e6 && Number.isFinite(readBandwidth))
  t.ok(floatPeak > 1e6 && Number.isFinite(floatPeak))
})
