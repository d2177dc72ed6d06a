import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { TrainingLog, type TrainStep } from '../../lib/train/index.js'

const stepOf = (step: number): TrainStep => ({
  step,
  steps: 5,
  loss: 8 - step,
  zLoss: 0,
  learningRate: 1e-3,
  gradNorm: 1,
  tokens: 16 * step,
  tokensPerSecond: 100,
  leftOutTokens: 0,
  ...(step === 2 && { validationLoss: 7 }),
})

t.test('a log keeps the steps of a run that goes on, and draws their losses', async t => {
  const dir = t.testdir()
  const lines = () => readFileSync(join(dir, 'log.jsonl'), 'utf8').trimEnd().split('\n')
  const log = await TrainingLog.open(dir, 1)
  for (const step of [1, 2, 3]) await log.add(stepOf(step))
  t.same(
    lines().map(line => JSON.parse(line)),
    [1, 2, 3].map(stepOf),
  )

  appendFileSync(join(dir, 'log.jsonl'), '{"step": 4, "lo') // as a kill leaves it
  const resumed = await TrainingLog.open(dir, 3)
  t.equal(lines().length, 2, 'step 3 comes again')
  await resumed.add(stepOf(3))
  await resumed.drawCurve()
  const picture = readFileSync(join(dir, 'loss.svg'), 'utf8')
  t.equal(picture.match(/<polyline points="([^"]+)"/)![1]!.split(' ').length, 3)
  t.equal(picture.match(/<circle/g)!.length, 1)
})
