import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { OpenELM } from '../../lib/model.js'
import { finetune } from '../../lib/train/finetune.js'
import type { FinetuneOptions } from '../../lib/train/finetune-recipe.js'
import type { FinetuneStep } from '../../lib/train/finetune-step.js'

/** The first rows of a file of real ones. */
function rowsOf(name: string, count: number) {
  const file = join(import.meta.dirname, '..', 'data', 'fine-tuning', 'rows', name)
  return readFileSync(file, 'utf8').split('\n').slice(0, count)
}

/** Teaches the bundled model rows until it must know them by heart. */
async function learn(t: Test, rows: readonly string[], more: Partial<FinetuneOptions>) {
  const dir = t.testdir()
  const data = join(dir, 'rows.jsonl')
  writeFileSync(data, rows.join('\n'))
  let last: FinetuneStep | undefined
  const options = {
    model: 'openelm-nano',
    data: [data],
    out: join(dir, 'run'),
    batchSize: rows.length,
  }
  for await (const step of finetune({ ...options, checkpointSteps: 1000, ...more })) last = step
  return last!
}

t.test('real preferences are told apart after an adapter has learnt them', async t => {
  const rows = rowsOf('preferences.jsonl', 8)
  const { rewardAccuracy, loss } = await learn(t, rows, { steps: 30, maxLearningRate: 5e-3 })
  t.equal(rewardAccuracy, 1)
  t.ok(loss < 0.1, `loss ${loss}`)
})

t.test('real answers come back, and end', async t => {
  const rows = rowsOf('chat.jsonl', 2)
  const { checkpoint } = await learn(t, rows, {
    method: 'full',
    steps: 80,
    maxLearningRate: 3e-3,
    sequenceLength: 512,
  })
  await using model = await OpenELM.load(checkpoint!, { backend: 'cpu', dtype: 'float32' })
  for (const row of rows) {
    const messages = JSON.parse(row).messages
    const { text, finishReason } = await model.generate(messages.slice(0, -1), { maxTokens: 400 })
    t.equal(text, messages.at(-1).content)
    t.equal(finishReason, 'stop')
  }
})
