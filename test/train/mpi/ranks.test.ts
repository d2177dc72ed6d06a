import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadNative } from '../../../lib/native.js'
import { main, start } from '../../helpers/cli.js'
import { outcome } from '../../helpers/compiled-cli.js'
import { launcherNames, outcomeOf, runRanks, skipWithout, startRanks } from '../../helpers/mpi.js'
import { page, runAll, tinyJson, tinyRun, tinyTokenizer } from '../../helpers/training.js'

const split = 4
const common = { split, microBatchSize: 1, steps: 4, warmupSteps: 2, checkpointSteps: 1 }

/** The files of a run as the command line wants them, and the same run in this process. */
async function setUp(t: Test) {
  const dir = t.testdir()
  const files = {
    'shape.json': JSON.stringify(tinyJson),
    'tokenizer.json': JSON.stringify(tinyTokenizer),
    'page.txt': page,
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content)
  const alone = tinyRun(join(dir, 'alone'), { ...common, validation: [join(dir, 'page.txt')] })
  const steps = await runAll(alone)
  const args = (out: string, ...more: string[]) => {
    const flags = { config: 'shape.json', tokenizer: 'tokenizer.json', data: 'page.txt' }
    return [
      ['train', join(dir, out), '--mpi', '--packing', '--min-tokens=0', '--batch-size=4'],
      ['--validation', join(dir, 'page.txt'), '--max-learning-rate=1e-2', '--threads=1'],
      ['--micro-batch-size=1', '--steps=4', '--warmup-steps=2', '--checkpoint-steps=1'],
      ...Object.entries(flags).map(([flag, file]) => [`--${flag}`, join(dir, file)]),
      more,
    ].flat()
  }
  return { dir, out: (name: string) => join(dir, name), args, alone: alone.out, steps }
}

/** The hashes of the files of the last step. */
function filesOf(out: string): Record<string, string> {
  const directory = join(out, 'step-00000004')
  const hash = (name: string) => {
    return createHash('sha256')
      .update(readFileSync(join(directory, name)))
      .digest('hex')
  }
  const names = readdirSync(directory).sort()
  return Object.fromEntries(names.map(name => [name, hash(name)]))
}

function logOf(out: string): object[] {
  const lines = readFileSync(join(out, 'log.jsonl'), 'utf8').trim().split('\n')
  return lines.map(line => {
    const { tokensPerSecond, checkpoint, ...step } = JSON.parse(line)
    return step
  })
}

for (const name of launcherNames) {
  t.test(
    `${name}: any number of ranks makes the same files`,
    { skip: skipWithout(name) },
    async t => {
      const { args, out, alone, steps } = await setUp(t)
      for (const ranks of [1, 2, 4]) {
        const run = await runRanks(name, ranks, ...args(`of-${ranks}`, `--split=${split}`))
        t.equal(run.code, 0, run.stderr)
        t.equal(run.stdout, '', 'nothing on standard output')
        const first = new RegExp(`^openelm: ${ranks} ranks? on 1 host, 1 thread each, ${name}`)
        t.match(run.stderr, first, 'who takes part')
        t.equal(run.stderr.match(/ranks? on/g)?.length, 1, 'one rank speaks')
        t.same(filesOf(out(`of-${ranks}`)), filesOf(alone), `${ranks} ranks`)
        t.same(
          logOf(out(`of-${ranks}`)),
          steps.map(({ tokensPerSecond, checkpoint, ...step }) => step),
          'and the same log',
        )
      }
    },
  )

  t.test(`${name}: resumed by more ranks and by fewer`, { skip: skipWithout(name) }, async t => {
    const { args, out, alone } = await setUp(t)
    let lastKept = 0
    for (const ranks of [2, 4, 1]) {
      for (const step of [1, 2, 3, 4].filter(step => step > lastKept)) {
        rmSync(join(out('parts'), `step-0000000${step}`), { recursive: true, force: true })
      }
      const more = lastKept === 0 ? `--split=${split}` : '--resume'
      const run = await runRanks(name, ranks, ...args('parts', more))
      t.equal(run.code, 0, run.stderr)
      t.same(filesOf(out('parts')), filesOf(alone), `step ${lastKept + 1} to 4 by ${ranks} ranks`)
      lastKept++
    }
    const wrong = await runRanks(name, 3, ...args('parts', '--resume', '--steps=5'))
    t.equal(wrong.code, 2)
    t.match(wrong.stderr, /with a split of 4, expected 4, 2, 1 ranks, received 3/)
  })

  t.test(`${name}: who does not say --mpi is no rank`, { skip: skipWithout(name) }, async t => {
    const { args } = await setUp(t)
    const run = await runRanks(name, 2, ...args('none').filter(arg => arg !== '--mpi'))
    t.equal(run.code, 2)
    t.match(run.stderr, /this is one of 2 processes \(\w+\), .*; mpi \(--mpi\) makes them share it/)
  })

  t.test(`${name}: another family's library`, { skip: skipWithout(name) }, async t => {
    const { args } = await setUp(t)
    const other = launcherNames.find(other => other !== name)!
    const library = loadNative()
      .mpiLibraries()
      .find(({ version }) => version.startsWith(other))
    if (!library) return t.pass('there is none', { skip: `there is no ${other}` })
    const child = startRanks(name, 2, [process.execPath, main, ...args('none')], {
      OPENELM_MPI: library.path,
    })
    const run = await outcomeOf(child)
    t.equal(run.code, 1)
    t.match(run.stderr, /the launcher says \w+=2, but .* sees 1: they do not belong together/)
    t.notOk(existsSync(join(t.testdirName, 'none')), 'nothing was written')
  })
}

t.test('without a launcher one process is the only rank', async t => {
  if (loadNative().mpiLibraries().length === 0) {
    return t.pass('it is alone', { skip: 'there is no MPI library' })
  }
  const { args, out, alone } = await setUp(t)
  const { code, stderr } = await outcome(start(args('single', `--split=${split}`)))
  t.equal(code, 0, stderr)
  t.match(stderr, /1 rank on 1 host.*\n.*this process is alone: mpirun or srun starts several/)
  t.same(filesOf(out('single')), filesOf(alone))
})
