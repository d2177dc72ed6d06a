import { join } from 'node:path'
import { Command, Option } from 'commander'
import type { OpenELMConfig } from '../config.js'
import { OpenELMError } from '../errors.js'
import { readJsonObject } from '../files.js'
import { Corpus } from '../train/corpus.js'
import { hyperparameters } from '../train/presets.js'
import type { TrainOptions } from '../train/recipe.js'
import { train as trainModel } from '../train/train.js'
import type { TrainStep } from '../train/train-step.js'
import { trainTokenizer } from '../train/train-tokenizer.js'
import { listTraining } from '../train/training-checkpoint.js'
import { configOptions, readNamedConfig } from './config-options.js'
import { formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { addOptions, integer, pick, positive } from './options.js'
import { note } from './output.js'
import { Progress } from './progress.js'
import { TrainingLog } from './training-log.js'
import { TrainingProgress } from './training-progress.js'

const runOptions = [
  new Option('--data <file...>', 'text or .jsonl to learn from').helpGroup('Run:'),
  new Option('--validation <file...>', 'text or .jsonl to measure on').helpGroup('Run:'),
  new Option('--resume', 'continue from the newest checkpoint').helpGroup('Run:'),
  count('--threads <n>', 'CPU threads (default: one per physical core)', 'Run:'),
  count('--checkpoint-steps <n>', 'steps from one checkpoint to the next (default: 5000)', 'Run:'),
  count('--keep-checkpoints <n>', 'how many to keep (default: 5)', 'Run:'),
  count(
    '--validation-steps <n>',
    "steps from one validation to the next (default: a checkpoint's)",
    'Run:',
  ),
]

/** What a recipe can hold, under the same names in camel case. */
const recipeOptions = [
  count('--steps <n>', 'steps of the optimiser (default: 350000)'),
  count('--batch-size <n>', 'sequences of a step (default: 2048)'),
  count('--micro-batch-size <n>', 'sequences in memory at a time (default: 4096 tokens)'),
  count('--sequence-length <n>', "tokens of a sequence (default: the model's context)"),
  new Option('--packing', 'cut sequences from the data end to end').helpGroup('Recipe:'),
  count('--words-per-piece <n>', 'where documents are cut (default: 2048)'),
  count('--min-characters <n>', 'leave shorter pieces out (default: 200)', 'Recipe:', 0),
  count('--min-tokens <n>', 'leave pieces of fewer tokens out (default: 256)', 'Recipe:', 0),
  rate('--max-learning-rate <x>', 'after the warm-up (default: 1e-3)'),
  rate('--min-learning-rate <x>', 'at the end (default: a tenth of that)'),
  count('--warmup-steps <n>', 'steps of the warm-up (default: 5000)', 'Recipe:', 0),
  rate('--weight-decay <x>', 'of matrices (default: 0.1)'),
  rate('--max-grad-norm <x>', 'what gradients are clipped to (default: 1)'),
  count('--seed <n>', 'which weights and order of the data (default: 0)', 'Recipe:', 0),
  new Option('--recompute', 'compute activations twice to save memory').helpGroup('Recipe:'),
]

export const train = addOptions(new Command('train'), configOptions)
  .description('train a model from random weights')
  .argument('<out>', 'directory for checkpoints, log.jsonl and loss.svg')
  .option('--tokenizer <file>', "a tokenizer.json (default: learn one of the model's size)")
  .option('--recipe <file>', 'a JSON file with options of the recipe')
  .addHelpText(
    'after',
    `
A checkpoint is a model directory like any other, with the optimiser's state beside the weights. The
released models were trained as --preset says. Ctrl-C saves,
and so does any other signal that ends a process.

Examples:
  $ openelm train run --config shape.json --data books/*.txt --packing --steps 2000 \\
      --batch-size 8 --warmup-steps 100 --max-learning-rate 3e-3
  $ openelm train run --config shape.json --data books/*.txt --recipe recipe.json --resume`,
  )
  .action(async (out: string, options, command: Command) => {
    const config = await readNamedConfig(options)
    if (!config) return command.error('expected --preset or --config')
    if (!options.data) return command.error('expected --data')
    const signal = interruptSignal()
    const tokenizer =
      options.tokenizer ??
      (options.resume && (await keptTokenizer(out))) ??
      (await learnTokenizer(options.data, config, signal))
    const steps = trainModel({
      ...(options.preset && hyperparameters[options.preset as keyof typeof hyperparameters]),
      ...(options.recipe && (await readRecipe(options.recipe))),
      ...pick(options, [...runOptions, ...recipeOptions]),
      config,
      tokenizer,
      out,
      signal,
    } as TrainOptions)

    await follow(steps, out)
    note(`the model is in ${join(out, 'step-*')}; openelm average makes one of several`)
  })
addOptions(train, [...runOptions, ...recipeOptions])

function count(flags: string, description: string, group = 'Recipe:', min = 1): Option {
  return new Option(flags, description).argParser(integer(min)).helpGroup(group)
}

function rate(flags: string, description: string): Option {
  return new Option(flags, description).argParser(positive).helpGroup('Recipe:')
}

/** Says so when much of the data is never learned from. */
function warnOfLoss({ leftOutTokens, tokens, step }: TrainStep): void {
  const share = leftOutTokens / (leftOutTokens + tokens / step)
  if (share < 0.1) return
  const percent = (100 * share).toFixed(0)
  note(
    `${percent}% of the data lies behind the ends of sequences and is left out; --packing uses all`,
  )
}

async function readRecipe(file: string): Promise<Record<string, unknown>> {
  const recipe = await readJsonObject(file, 2 ** 20, 'INVALID_CONFIG')
  const known = [...recipeOptions, ...runOptions].map(option => option.attributeName())
  const stranger = Object.keys(recipe).find(name => !known.includes(name))
  if (stranger === undefined) return recipe
  throw new OpenELMError('INVALID_CONFIG', `${file}: there is no option ${stranger}`)
}

/** Draws the bar, which is gone afterwards, and keeps the log. */
async function follow(steps: AsyncIterable<TrainStep>, out: string): Promise<void> {
  using bar = new TrainingProgress()
  let log: TrainingLog | undefined
  for await (const step of steps) {
    if (log === undefined) {
      log = await TrainingLog.open(out, step.step)
      warnOfLoss(step)
    }
    await log.add(step)
    bar.update(step)
    if (step.checkpoint) await log.drawCurve()
  }
}

/** The tokenizer.json of the newest checkpoint, if there is one. */
async function keptTokenizer(out: string): Promise<string | undefined> {
  const newest = (await listTraining(out)).at(-1)
  return newest && join(newest, 'tokenizer.json')
}

async function learnTokenizer(
  data: string[],
  { vocabSize }: OpenELMConfig,
  signal: AbortSignal,
): Promise<object> {
  const corpus = await Corpus.open(data, { minCharacters: 0 }, signal)
  using bar = new Progress('Learning a vocabulary', formatCount)
  return await trainTokenizer(corpus.withSpaces(), vocabSize, { signal, onProgress: bar.update })
}
