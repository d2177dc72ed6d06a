import t from 'tap'
import { cosineLearningRate } from '../../lib/train/cosine-learning-rate.js'
import { goldenValues } from '../helpers/examples.js'

t.test('every rate of a run is what Hugging Face has for it', async t => {
  const golden = goldenValues('schedule.json')
  const { peak: maxLearningRate, steps, warmup_steps: warmupSteps } = golden
  const schedule = { steps, warmupSteps, maxLearningRate, minLearningRate: 0 }
  t.equal(Math.ceil(golden.warmup_ratio * steps), warmupSteps)
  for (const [step, rate] of golden.rate_of_step_from_0.entries()) {
    t.ok(Math.abs(cosineLearningRate(step, schedule) - rate) <= 1e-12 * maxLearningRate, `${step}`)
  }
})

t.test('the first rate is 0 with a warm-up, and the highest without', async t => {
  const schedule = { steps: 10, warmupSteps: 0, maxLearningRate: 1e-4, minLearningRate: 1e-5 }
  t.equal(cosineLearningRate(0, schedule), 1e-4)
  t.equal(cosineLearningRate(0, { ...schedule, warmupSteps: 2 }), 0)
  t.ok(cosineLearningRate(9, schedule) > 1e-5, 'the lowest would come one step after the last')
  t.equal(cosineLearningRate(0, { ...schedule, warmupSteps: 10 }), 0)
  t.equal(cosineLearningRate(10, { ...schedule, warmupSteps: 10 }), 1e-4)
})

t.test('small rates are not rounded', async t => {
  const schedule = { steps: 1000, warmupSteps: 0, maxLearningRate: 5e-7, minLearningRate: 0 }
  const rates = Array.from({ length: 1000 }, (_, step) => cosineLearningRate(step, schedule))
  t.equal(new Set(rates).size, 1000)
})
