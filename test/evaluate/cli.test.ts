import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { start } from '../helpers/cli.js'
import { outcome } from '../helpers/compiled-cli.js'
import { readLines } from './goldens.js'

const scratch = t.testdir()
const data = join(import.meta.dirname, 'data/documents')
const common = ['--data', data, '--backend', 'cpu', '--tasks', 'hellaswag,winogrande,mmlu_anatomy']
const counts = { hellaswag: 9, winogrande: 7, mmlu_anatomy: 4 }
const total = 20

function newFolder(): string {
  return mkdtempSync(join(scratch, 'run-'))
}

function run(...args: string[]) {
  return outcome(start(['evaluate', ...args]))
}

async function succeed(t: Test, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args)
  t.equal(code, 0, stderr)
  return stdout
}

interface ResultFile {
  results: Record<string, Record<string, unknown>>
  scores: unknown
  config: object
}

function readResultFile(file: string): ResultFile {
  return JSON.parse(readFileSync(file, 'utf8'))
}

t.test('a table, results and samples', async t => {
  const folder = newFolder()
  const output = join(folder, 'new', 'results.json')
  const samples = join(folder, 'samples')
  const stdout = await succeed(t, ...common, '--output', output, '--log-samples', samples)
  const lines = stdout.split('\n')
  t.same(lines.slice(0, 2), [
    '|  Tasks   |Version|Filter|n-shot| Metric |Value |   |Stderr|Chance|',
    '|----------|------:|------|-----:|--------|-----:|---|-----:|-----:|',
  ])
  t.match(
    lines[2],
    /^\|hellaswag \| {6}1\|none {2}\| {5}0\|acc {5}\|\d\.\d{4}\|± {2}\|\d\.\d{4}\|0\.2500\|$/,
  )
  t.match(lines[3], /^\| {10}\| {7}\|none {2}\| {5}0\|acc_norm\|/)
  const { results, config } = readResultFile(output)
  t.same(Object.keys(results), ['hellaswag', 'winogrande', 'mmlu_anatomy'])
  t.match(config, { model: 'openelm', model_args: 'openelm-nano' })
  for (const [task, count] of Object.entries(counts)) {
    const written = readLines<Record<string, unknown>>(join(samples, `samples_${task}_0shot.jsonl`))
    t.same(
      written.map(sample => sample.doc_id),
      Array.from({ length: count }, (_, i) => i),
    )
    const mean = written.reduce((sum, { acc }) => sum + Number(acc), 0) / count
    t.ok(Math.abs(mean - Number(results[task]!['acc,none'])) < 1e-12)
  }
})

t.test('shards, put together, are the whole', async t => {
  const folder = newFolder()
  const whole = join(folder, 'whole.json')
  await succeed(t, ...common, '--num-fewshot', '1', '--output', whole)
  const parts = await Promise.all(
    [1, 2, 3].map(async part => {
      const output = join(folder, `${part}.json`)
      await succeed(t, ...common, '--num-fewshot', '1', '--shard', `${part}/3`, '--output', output)
      return output
    }),
  )
  const merged = join(folder, 'merged.json')
  await succeed(t, '--merge', ...parts, '--output', merged)
  t.same(readResultFile(merged).results, readResultFile(whole).results)
  t.same(readResultFile(merged).scores, readResultFile(whole).scores)
  const { code, stderr } = await run('--merge', parts[0]!, parts[2]!)
  t.equal(code, 2)
  t.match(stderr, /hellaswag with 1 examples: document 1 is missing/)
})

t.test('a run that is killed at any moment goes on', async t => {
  const expected = readResultFile(await resultsOf(t, 'whole.json', []))
  const folder = newFolder()
  const output = join(folder, 'killed.json')
  for (let moment = 0; moment < 10; moment++) {
    const child = start(['evaluate', ...common, '--output', output, '--sessions', '1'])
    const ended = outcome(child)
    const wanted = (total * (moment + 1)) / 10
    while (child.exitCode === null && numAnswers(output) < wanted) await setTimeout(1)
    child.kill('SIGKILL')
    await ended
    t.ok(numAnswers(output) >= wanted)
  }
  await succeed(t, ...common, '--output', output)
  const { results, scores } = readResultFile(output)
  t.same({ results, scores }, { results: expected.results, scores: expected.scores })
  t.equal(numAnswers(output), total)
})

t.test('Ctrl-C', { skip: process.platform === 'win32' && 'no signals' }, async t => {
  const output = join(newFolder(), 'stopped.json')
  const child = start(['evaluate', ...common, '--output', output, '--sessions', '1'])
  const ended = outcome(child)
  while (child.exitCode === null && numAnswers(output) < 2) await setTimeout(1)
  child.kill('SIGINT')
  t.match(await ended, { code: 130, stdout: '', stderr: '' })
  t.notOk(existsSync(output))
})

async function resultsOf(t: Test, name: string, args: string[]): Promise<string> {
  const output = join(newFolder(), name)
  await succeed(t, ...common, '--output', output, ...args)
  return output
}

/** Of a run that may be writing them. */
function numAnswers(output: string): number {
  const file = `${output}.answers.jsonl`
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0
}

t.test('several numbers of examples, and the tables of the paper', async t => {
  const output = join(newFolder(), 'results')
  const tasks = 'openllm,arc_challenge'
  const { code, stderr } = await run('--data', data, '--tasks', tasks, '--output', output)
  t.equal(code, 1)
  t.match(stderr, /there is no|no document of mmlu_/)
  await succeed(
    t,
    ...common.slice(0, 4),
    '--tasks',
    'winogrande,truthfulqa_mc2',
    '--num-fewshot',
    '5',
    '--output',
    output,
  )
  t.same(readdirSync(output).toSorted(), [
    'results_0shot.json',
    'results_5shot.json',
    'suites.json',
  ])
  await succeed(t, '--merge', output)
})

t.test('a picture of checkpoints', async t => {
  const folder = newFolder()
  const output = join(folder, 'a.json')
  await succeed(t, ...common, '--limit', '2', '--output', output)
  const svg = join(folder, 'progress.svg')
  await succeed(t, '--plot', svg, output, output)
  const picture = readFileSync(svg, 'utf8')
  t.equal(picture.match(/<polyline/g)?.length, 3)
  t.match(picture, /hellaswag acc_norm \(0\)/)
  t.notMatch(picture, /NaN/)
})

t.test('what is there', async t => {
  const stdout = await succeed(t, '--list', '--data', data)
  t.match(stdout, /piqa +baber\/piqa +validation there +train missing +1,838/)
})

t.test('what goes wrong is said in a line', async t => {
  const bad: [args: string[], code: number, message: RegExp][] = [
    [['--data', data, '--tasks', 'arc'], 2, /one of zero-shot/],
    [['--data', join(scratch, 'none')], 1, /no test split of arc_challenge .*allenai\/ai2_arc/],
    [['--shard', '3/2'], 2, /--shard.*Expected a part/],
    [['--merge'], 2, /expected files of results/],
    [['results.json'], 2, /expected files of results/],
    [['--merge', join(data, 'mmlu')], 1, /there is no results_<n>shot\.json/],
    [['--merge', join(data, 'piqa.validation.jsonl')], 1, /malformed JSON/],
  ]
  for (const [args, code, message] of bad) {
    const result = await run(...args)
    t.equal(result.code, code, args.join(' '))
    t.match(result.stderr, message)
    t.equal(result.stdout, '')
    t.equal(result.stderr.trim().split('\n').length, 1)
  }
})
