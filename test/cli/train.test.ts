import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { compileCli, outcome } from '../helpers/compiled-cli.js'
import { checkpointBytes, page, tinyJson } from '../helpers/training.js'

const dir = t.testdir({
  'page.txt': page,
  'shape.json': JSON.stringify(tinyJson),
  'recipe.json': JSON.stringify({
    steps: 400,
    batchSize: 4,
    packing: true,
    minTokens: 0,
    maxLearningRate: 1e-2,
    warmupSteps: 4,
    checkpointSteps: 1,
    keepCheckpoints: 2,
  }),
  'strange.json': '{"stepz": 3}',
})
const at = (...names: string[]) => join(dir, ...names)
const start = compileCli(dir)
const run = (...args: string[]) => outcome(start(...args))
const shape = ['--config', at('shape.json')]
const training = [...shape, '--data', at('page.txt'), '--recipe', at('recipe.json')]
const last = (out: string) => at(out, 'step-00000400')

/** Of the complete checkpoints. */
function newestStep(out: string): number {
  const names = existsSync(out) ? readdirSync(out) : []
  return Math.max(0, ...names.map(name => Number(/^step-(\d+)$/.exec(name)?.[1] ?? 0)))
}

t.test('a run that is killed 20 times ends as one that is not', { timeout: 500_000 }, async t => {
  const whole = await run('train', at('whole'), ...training)
  t.equal(whole.code, 0, whole.stderr)

  let random = 12345
  const draw = (below: number) => {
    random = (random * 48271) % 2147483647 // Park and Miller's
    return random % below
  }
  const kills = 20
  for (let kill = 0; kill < kills; kill++) {
    const child = start('train', at('killed'), ...training, '--resume')
    const closed = once(child, 'close')
    // Up to 15 checkpoints further, and then within one or before the next.
    const goal = newestStep(at('killed')) + draw(16)
    while (newestStep(at('killed')) < goal && child.exitCode === null) await setTimeout(2)
    await setTimeout(draw(20))
    child.kill('SIGKILL')
    await closed
    t.equal(child.signalCode, 'SIGKILL', `killed after step ${newestStep(at('killed'))}`)
  }
  const end = await run('train', at('killed'), ...training, '--resume', '--threads', '1')
  t.equal(end.code, 0, end.stderr)
  t.same(checkpointBytes(last('killed')), checkpointBytes(last('whole')))

  const log = readFileSync(at('killed', 'log.jsonl'), 'utf8').trim().split('\n')
  const steps = log.map(line => JSON.parse(line).step)
  t.ok(steps.length >= 400 - kills, 'a kill between a checkpoint and its line costs that line')
  t.same(
    steps,
    [...new Set(steps)].sort((a, b) => a - b),
    'no step comes twice',
  )
  t.match(readFileSync(at('killed', 'loss.svg'), 'utf8'), /^<svg .*<polyline .*<\/svg>\s*$/s)
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  t.test(`${signal} saves`, { skip: process.platform === 'win32' }, async t => {
    const child = start('train', at(signal), ...training, '--checkpoint-steps', '100000')
    const ended = outcome(child)
    while (!existsSync(at(signal, 'log.jsonl'))) await setTimeout(20)
    child.kill(signal)
    t.equal((await ended).code, code)
    const [step] = readFileSync(at(signal, 'log.jsonl'), 'utf8').trim().split('\n').slice(-1)
    t.ok(existsSync(at(signal, `step-${String(JSON.parse(step!).step).padStart(8, '0')}`)))
  })
}

t.test('a resumed run keeps its vocabulary, and says what it leaves out', async t => {
  const short = ['--steps', '2', '--sequence-length', '16', '--checkpoint-steps', '1']
  writeFileSync(at('loose.json'), JSON.stringify({ batchSize: 1, minTokens: 0 }))
  const loose = [...shape, '--data', at('page.txt'), '--recipe', at('loose.json'), ...short]
  const first = await run('train', at('loose'), ...loose)
  t.equal(first.code, 0, first.stderr)
  t.match(first.stderr, /^openelm: \d+% of the data .* is left out; --packing uses all$/m)
  // Learned anew, it would be another: the run could not go on.
  const file = at('loose', 'step-00000002', 'tokenizer.json')
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, before.replace('"merges":["', '"merges": ["'))
  const again = await run('train', at('loose'), ...loose, '--resume')
  t.equal(again.code, 0, again.stderr)
})

t.test('average and perplexity', async t => {
  const checkpoints = [at('whole', 'step-00000399'), last('whole')]
  t.match(await run('average', ...checkpoints, at('mean'), '--dtype', 'bfloat16'), {
    code: 0,
    stderr: '',
  })
  const { stdout } = await run('perplexity', '-m', at('mean'), at('page.txt'), '--json')
  const result = JSON.parse(stdout)
  t.match(result, { perplexity: Number, tokens: Number, bytes: Buffer.byteLength(page) })
  t.ok(result.bitsPerByte < 1.5, `${result.bitsPerByte} bits per byte of a page learned by heart`)
  t.match(
    (await run('perplexity', '-m', at('mean'), at('page.txt'))).stdout,
    /bits per byte +\d\.\d{4}/,
  )
})

t.test('misuse', async t => {
  writeFileSync(at('binary'), Buffer.from([255, 253, 0]))
  const cases: [string[], number, RegExp][] = [
    [['train', at('x')], 2, /expected --preset, --config or --from/],
    [['train', at('x'), ...shape], 2, /expected --data/],
    [['train', at('whole'), ...training], 1, /already holds a run/],
    [['train', at('whole'), ...training, '--resume', '--seed', '1'], 1, /seed 0, not 1/],
    [['train', at('x'), ...shape, '--data', at('binary')], 1, /binary: expected text/],
    [['train', at('x'), ...training, '--recipe', at('strange.json')], 1, /no option stepz/],
    [
      ['train', at('x'), ...training, '--max-learning-rate', '0'],
      2,
      /expected --max-learning-rate to be a finite number above 0/,
    ],
    [
      ['train', at('x'), ...training, '--seed', '4294967296'],
      2,
      /expected --seed to be an integer from 0 to 4294967295, received 4294967296/,
    ],
    [
      ['train', at('x'), ...training, '--beta1', '1'],
      2,
      /expected --beta1 to be a number from 0 to below 1/,
    ],
    [['train', at('x'), ...training, '--beta1', 'x'], 2, /Expected a number/],
    [['perplexity', '-m', at('nowhere'), at('page.txt')], 1, /MODEL_NOT_FOUND/],
    [['perplexity', '-m', at('mean'), at('binary')], 1, /expected UTF-8 text/],
    [['average', at('nowhere'), at('y')], 1, /MODEL_NOT_FOUND/],
  ]
  for (const [args, code, message] of cases) {
    const result = await run(...args)
    t.equal(result.code, code, args.join(' '))
    t.match(result.stderr, message)
    t.equal(result.stderr.trim().split('\n').length, 1, 'one line')
  }
  t.notOk(existsSync(at('x')), 'and nothing is written')
})
