import { join } from 'node:path'
import { Command, Option } from 'commander'
import { openCheckpoint } from '../convert/index.js'
import {
  hyperparameters,
  readRecipe,
  TrainingLog,
  type TrainOptions,
  type TrainStep,
  train,
} from '../train/index.js'
import { configOptions, readNamedConfig } from './config-options.js'
import { interruptSignal } from './interrupt.js'
import { addOptions, numeric, pick } from './options.js'
import { note } from './output.js'
import { hasAssisted, rankOptions, splitOption, tellRanks } from './ranks.js'
import { TrainingProgress } from './training-progress.js'

const runOptions = [
  new Option('--data <file...>', 'text or .jsonl to learn from'),
  new Option('--validation <file...>', 'text or .jsonl to measure on'),
  new Option('--resume', 'continue from the newest checkpoint'),
  numeric('--threads <n>', 'CPU threads (default: one per physical core)'),
  numeric('--checkpoint-steps <n>', 'steps from one checkpoint to the next (default: 5000)'),
  numeric('--keep-checkpoints <n>', 'how many to keep (default: 5)'),
  numeric('--validation-steps <n>', 'steps between validations (default: those of checkpoints)'),
].map(option => option.helpGroup('Run:'))

/** The options that a file of a recipe usually holds. */
const recipeOptions = [
  numeric('--steps <n>', 'steps of the optimiser (default: 350000)'),
  numeric('--batch-size <n>', 'sequences of a step (default: 2048)'),
  numeric('--micro-batch-size <n>', 'sequences in memory at a time (default: 4096 tokens)'),
  splitOption,
  numeric('--sequence-length <n>', "tokens of a sequence (default: the model's context)"),
  new Option('--packing', 'cut sequences from the data end to end'),
  numeric('--words-per-piece <n>', 'where documents are cut (default: 2048)'),
  numeric('--min-characters <n>', 'leave shorter pieces out (default: 200)'),
  numeric('--min-tokens <n>', 'leave pieces of fewer tokens out (default: 256)'),
  numeric('--max-learning-rate <x>', 'after the warm-up (default: 1e-3)'),
  numeric('--min-learning-rate <x>', 'at the end (default: a tenth of that)'),
  numeric('--warmup-learning-rate <x>', 'at the beginning (default: 1e-6)'),
  numeric('--warmup-steps <n>', 'steps of the warm-up (default: 5000)'),
  numeric('--beta1 <x>', 'decay of the mean of gradients (default: 0.9)'),
  numeric('--beta2 <x>', 'decay of the mean of their squares (default: 0.95)'),
  numeric('--eps <x>', 'added to the root of that (default: 1e-8)'),
  numeric('--weight-decay <x>', 'of matrices (default: 0.1)'),
  numeric('--max-grad-norm <x>', 'what gradients are clipped to (default: 1)'),
  numeric('--z-loss <x>', 'weight of the z-loss (default: 1e-4)'),
  numeric('--seed <n>', 'which weights and order of the data (default: 0)'),
  new Option('--recompute', 'compute activations twice to save memory'),
].map(option => option.helpGroup('Recipe:'))

export const trainCommand = addOptions(new Command('train'), configOptions)
  .description('train a model from random weights, or from those of another')
  .argument('<out>', 'directory for checkpoints, log.jsonl and loss.svg')
  .option(
    '--tokenizer <file>',
    "a tokenizer.json (default: the resumed run's, or one learned from the data)",
  )
  .option('--from <dir>', 'a model to start from, whose shape and tokenizer are taken by default')
  .option('--recipe <file>', 'a JSON file with options of the recipe')
  .addHelpText(
    'after',
    `
A checkpoint is a model directory like any other, with the optimiser's state beside the weights. The
released models were trained as --preset says. Ctrl-C saves, as SIGTERM and SIGHUP do, and SIGUSR2
with --mpi. That makes one run of the processes that mpirun or srun has started, to the same bits as
one process with the same --split; the first of them reads the data and writes.

Examples:
  $ openelm train run --config shape.json --data books/*.txt --packing --steps 2000 \\
      --batch-size 8 --warmup-steps 100 --max-learning-rate 3e-3
  $ mpirun -n 2 --bind-to none openelm train run --mpi --config shape.json --data book.txt
  $ openelm train run --config shape.json --data books/*.txt --recipe recipe.json --resume`,
  )
  .action(async (out: string, options, command: Command) => {
    if (await hasAssisted(options, command)) return
    const base = options.from && (await openCheckpoint(options.from))
    const config = (await readNamedConfig(options)) ?? base?.config
    if (!config) return command.error('expected --preset, --config or --from')
    if (!options.data) return command.error('expected --data')
    using progress = new TrainingProgress()
    const steps = train({
      ...(options.preset && hyperparameters[options.preset as keyof typeof hyperparameters]),
      ...(options.recipe && (await readRecipe(options.recipe))),
      ...pick(options, [...runOptions, ...rankOptions, ...recipeOptions]),
      config,
      tokenizer: options.tokenizer ?? (base && join(base.directory, 'tokenizer.json')),
      from: options.from,
      out,
      signal: interruptSignal(options.mpi),
      onRanks: tellRanks,
      onTokenizerProgress: progress.learn,
    } as TrainOptions)

    await follow(steps, out, progress)
    progress[Symbol.dispose]()
    note(`the model is in ${join(out, 'step-*')}; openelm average makes one of several`)
  })
addOptions(trainCommand, [...runOptions, ...rankOptions, ...recipeOptions])

/** Warns when a tenth of the data or more is left out. */
function warnOfLoss({ leftOutTokens, tokens, step }: TrainStep): void {
  const share = leftOutTokens / (leftOutTokens + tokens / step)
  if (share < 0.1) return
  const percent = (100 * share).toFixed(0)
  note(
    `${percent}% of the data lies behind the ends of sequences and is left out; --packing uses all`,
  )
}

/** Runs the training, draws its bar and keeps its log. */
async function follow(
  steps: AsyncIterable<TrainStep>,
  out: string,
  progress: TrainingProgress,
): Promise<void> {
  let log: TrainingLog | undefined
  for await (const step of steps) {
    if (log === undefined) {
      log = await TrainingLog.open(out, step.step)
      warnOfLoss(step)
    }
    await log.add(step)
    progress.update(step)
    if (step.checkpoint) await log.drawCurve()
  }
}
