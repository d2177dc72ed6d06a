import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { writeCheckpoint } from '../../lib/checkpoint.js'
import { randomWeights } from '../../lib/random-weights.js'
import { compileCli, outcome } from '../helpers/compiled-cli.js'
import { tiny, tinyTokenizer } from '../helpers/training.js'

const rows = ['the sea', 'himself', 'the glass', 'a light'].map((completion, i) => ({
  prompt: `Lamp ${i} is for`,
  completion: ` ${completion}.`,
}))
const dir = t.testdir({
  'rows.jsonl': rows.map(row => JSON.stringify(row)).join('\n'),
  'pair.jsonl': JSON.stringify({ prompt: 'One', chosen: ' two.', rejected: ' no.' }),
  'recipe.json': JSON.stringify({ steps: 120, batchSize: 3, rank: 4, maxLearningRate: 1e-2 }),
  'strange.json': '{"stepz": 3}',
})
const at = (...names: string[]) => join(dir, ...names)
const companions = new Map([['tokenizer.json', Buffer.from(JSON.stringify(tinyTokenizer))]])
await writeCheckpoint(at('model'), tiny, 'float32', randomWeights(tiny, 1n), { companions })
const start = compileCli(dir)
const run = (...args: string[]) => outcome(start(...args))
const model = ['-m', at('model'), '--data', at('rows.jsonl'), '--recipe', at('recipe.json')]
const each = ['--checkpoint-steps', '1', '--keep-checkpoints', '2', '--dropout', '0.1']

/** Of the complete checkpoints. */
function newestStep(out: string): number {
  const names = existsSync(out) ? readdirSync(out) : []
  return Math.max(0, ...names.map(name => Number(/^step-(\d+)$/.exec(name)?.[1] ?? 0)))
}

t.test('a run that is killed ends as one that is not', { timeout: 300_000 }, async t => {
  const whole = await run('finetune', at('whole'), ...model, ...each)
  t.equal(whole.code, 0, whole.stderr)
  t.match(whole.stderr, /sft: 4 rows, \d+ of \d+ tokens learnt\n.*120 steps, [\d,]+ parameters, /)
  for (let kill = 0; kill < 20; kill++) {
    const goal = 5 * kill
    const child = start('finetune', at('killed'), ...model, ...each, '--resume')
    const closed = once(child, 'close')
    while (newestStep(at('killed')) < goal && child.exitCode === null) await setTimeout(1)
    // While it starts, saves, removes what is old, computes.
    await setTimeout(goal === 0 ? 300 : (7 * kill) % 11)
    child.kill('SIGKILL')
    await closed
    t.equal(child.signalCode, 'SIGKILL', `killed after step ${newestStep(at('killed'))}`)
  }
  const end = await run('finetune', at('killed'), ...model, ...each, '--resume', '--threads', '2')
  t.equal(end.code, 0, end.stderr)
  for (const file of ['adapter_model.safetensors', 'optimizer.safetensors']) {
    const [killed, expected] = ['killed', 'whole'].map(out =>
      readFileSync(at(out, 'step-00000120', file)),
    )
    t.ok(killed!.equals(expected!), file)
  }
  // A kill between a checkpoint and the line of its step loses that line.
  const lines = readFileSync(at('killed', 'log.jsonl'), 'utf8').trim().split('\n').length
  t.ok(lines >= 100 && lines <= 120, `${lines} lines`)
  t.ok(existsSync(at('killed', 'loss.svg')))
})

t.test('preferences, a validation, and what is refused', async t => {
  const preferences = ['--data', at('pair.jsonl'), '--validation', at('pair.jsonl')]
  const tuned = await run('finetune', at('dpo'), '-m', at('model'), ...preferences)
  t.equal(tuned.code, 0, tuned.stderr)
  t.match(tuned.stderr, /dpo: 1 rows/)
  t.match(tuned.stderr, /the validation loss was lowest after step 1: 0\.693/)
  t.notMatch(tuned.stderr, /longer than/)
  const short = ['--train-prompts', '--sequence-length', '8', '--steps', '1']
  const part = ['--validation-fraction', '0.2']
  const held = await run('finetune', at('held'), ...model.slice(0, 4), ...short, ...part)
  t.equal(held.code, 0, held.stderr)
  t.match(held.stderr, /sft: 4 rows, .* truncated .*, 2 to measure on\n/)
  t.match(held.stderr, /% of the rows are longer than the sequence length\n/)
  t.match(held.stderr, /the validation loss was lowest after step 1/)
  const nothing = await run('finetune', at('none'), '-m', at('model'))
  t.match(nothing, { code: 2, stderr: /expected --data/ })
  const strange = [...model.slice(0, 4), '--recipe', at('strange.json')]
  const refused = await run('finetune', at('none'), ...strange)
  t.match(refused, { code: 1, stderr: /there is no option stepz/ })
  const wrong = await run('finetune', at('none'), ...model, '--rank', '0')
  t.match(wrong, { code: 2, stderr: /--rank/ })
})
