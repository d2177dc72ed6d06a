import t from 'tap'
import { presets } from '../../lib/config.js'
import { learningRate } from '../../lib/train/learning-rate.js'
import { hyperparameters } from '../../lib/train/presets.js'

t.test('the schedule of OpenELM-270M', async t => {
  const schedule = hyperparameters['270M']
  t.equal(learningRate(0, schedule), 1e-6)
  t.equal(learningRate(1, schedule), 2.06e-6)
  t.equal(learningRate(2500, schedule), 0.0026505)
  t.equal(learningRate(5000, schedule), 5.3e-3)
  t.equal(learningRate(177_500, schedule), 0.00291501, 'half way down, but for half a step')
  t.equal(learningRate(349_999, schedule), 5.3e-4)
})

t.test('a run without a warm-up starts at the top', async t => {
  const schedule = { ...hyperparameters['3B'], warmupSteps: 0, steps: 10 }
  t.equal(learningRate(0, schedule), 1.2e-3)
  t.ok(learningRate(9, schedule) > 1.2e-4, 'the last step is not quite at the bottom')
})

t.test('every preset has the hyperparameters that were published', async t => {
  t.same(Object.keys(hyperparameters), Object.keys(presets))
  t.same(
    Object.values(hyperparameters).map(({ maxLearningRate }) => maxLearningRate),
    [5.3e-3, 3.9e-3, 2.4e-3, 1.2e-3],
  )
  for (const { maxLearningRate, minLearningRate, batchSize, sequenceLength } of Object.values(
    hyperparameters,
  )) {
    t.ok(Math.abs(minLearningRate * 10 - maxLearningRate) < 1e-12)
    t.equal(batchSize * sequenceLength, 4_194_304)
  }
})
