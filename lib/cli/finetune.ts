import { join } from 'node:path'
import { Command, Option } from 'commander'
import {
  describeExamples,
  type FinetuneOptions,
  type FinetuneStep,
  type FinetuneSummary,
  fineTuningPresets,
  finetune,
  readFinetuneRecipe,
  TrainingLog,
  warningOf,
} from '../train/index.js'
import { formatCount } from './format.js'
import { interruptSignal } from './interrupt.js'
import { addOptions, numeric, pick } from './options.js'
import { note } from './output.js'
import { hasAssisted, rankOptions, splitOption, tellRanks } from './ranks.js'
import { TrainingProgress } from './training-progress.js'

const options = {
  'Run:': [
    new Option('--data <file...>', '.jsonl or .json with rows to learn'),
    new Option('--validation <file...>', 'the same, to measure on'),
    numeric('--validation-fraction <x>', 'measure on this part of the data (default: 0)'),
    new Option('--format <name>', 'what the rows are (default: told from the first)'),
    new Option('--resume', 'continue from the newest checkpoint'),
    numeric('--threads <n>', 'CPU threads (default: one per physical core)'),
    numeric(
      '--checkpoint-steps <n>',
      "steps from one checkpoint to the next (default: an epoch's)",
    ),
    numeric('--keep-checkpoints <n>', 'how many to keep (default: 5)'),
    numeric('--validation-steps <n>', 'steps between validations (default: those of checkpoints)'),
  ],
  'Method:': [
    new Option('--method <name>', 'an adapter or all weights (default: lora)').choices([
      'lora',
      'dora',
      'full',
    ]),
    numeric('--rank <n>', 'of the adapter (default: 16)'),
    numeric('--alpha <x>', "the adapter's scale is alpha / rank (default: the rank)"),
    new Option('--rslora', 'the scale is alpha / sqrt(rank)'),
    numeric('--dropout <p>', 'inputs of the adapter that are zeroed (default: 0)'),
    new Option(
      '--targets <name...>',
      'all, attention, ffn, embedding or names of modules (default: all)',
    ),
    numeric('--layers <n>', 'adapt the last n layers only (default: all)'),
    new Option('--adapter <dir>', 'go on with this adapter instead of a new one'),
    new Option(
      '--dtype <dtype>',
      'of the frozen weights; auto is as stored (default: auto)',
    ).choices(['auto', 'float32', 'float16', 'bfloat16', 'q8', 'q4']),
  ],
  'Objective:': [
    new Option('--objective <name>', 'default: dpo for chosen and rejected answers').choices([
      'sft',
      'dpo',
    ]),
    new Option('--template <name>', 'how conversations become text').choices([
      'zephyr',
      'alpaca',
      'commonsense',
      'none',
    ]),
    new Option('--system <text>', 'for conversations that have no system message'),
    new Option('--train-prompts', 'learn the prompts as well'),
    new Option('--answers <which>', 'of a conversation that are learnt (default: all)').choices([
      'all',
      'last',
    ]),
    new Option('--dpo-loss <name>', 'default: sigmoid').choices(['sigmoid', 'hinge', 'ipo']),
    numeric('--beta <x>', 'how little preferences may move the model (default: 0.1)'),
    numeric('--label-smoothing <x>', 'share of preferences that may be wrong (default: 0)'),
  ],
  'Recipe:': [
    numeric('--epochs <x>', 'how often to go through the data (default: 3; with dpo 1)'),
    numeric('--steps <n>', 'steps of the optimiser instead'),
    numeric('--batch-size <n>', 'rows of a step (default: 16)'),
    splitOption,
    numeric('--micro-batch-tokens <n>', 'tokens in memory at a time (default: 4096)'),
    numeric('--sequence-length <n>', 'most tokens of a row (default: 1024)'),
    numeric('--max-prompt-length <n>', 'what long preferences keep of a prompt (default: half)'),
    numeric('--max-learning-rate <x>', 'default: 2e-4; full and dpo 2e-5'),
    numeric('--min-learning-rate <x>', 'at the end (default: 0)'),
    numeric('--warmup-ratio <x>', 'part of the steps that warms up (default: 0.1)'),
    numeric('--warmup-steps <n>', 'steps of the warm-up instead'),
    numeric('--weight-decay <x>', 'of matrices (default: 0)'),
    numeric('--max-grad-norm <x>', 'what gradients are clipped to (default: 1)'),
    numeric('--seed <n>', 'which order, adapter and dropout (default: 0)'),
    new Option('--recompute', 'compute activations twice to save memory'),
  ],
}

const all = [
  ...Object.entries(options).flatMap(([group, list]) =>
    list.map(option => option.helpGroup(group)),
  ),
  ...rankOptions,
]

const presets = Object.keys(fineTuningPresets) as (keyof typeof fineTuningPresets)[]

export const finetuneCommand = new Command('finetune')
  .description('teach a model from examples or from preferences')
  .argument('<out>', 'directory for checkpoints, log.jsonl and loss.svg')
  .addOption(new Option('-m, --model <dir>', 'the model to start from').makeOptionMandatory())
  .addOption(new Option('--preset <name>', "one of Apple's recipes").choices(presets))
  .option('--recipe <file>', 'a JSON file with options of the recipe')
  .addHelpText(
    'after',
    `
A checkpoint of an adapter is one that --adapter and PEFT take, and openelm merge makes a model of
it; one of --method full is a model. Ctrl-C saves, as SIGTERM and SIGHUP do. --mpi shares the run as
that of openelm train does.

Examples:
  $ openelm finetune run -m OpenELM-270M --data chats.jsonl --validation others.jsonl
  $ openelm finetune run -m OpenELM-270M --data preferences.jsonl --beta 0.05 --resume`,
  )
  .action(async (out: string, given, command: Command) => {
    if (await hasAssisted(given, command)) return
    if (!given.data) return command.error('expected --data')
    using progress = new TrainingProgress()
    const steps = finetune({
      ...(given.preset && fineTuningPresets[given.preset as (typeof presets)[number]]),
      ...(given.recipe && (await readFinetuneRecipe(given.recipe))),
      ...pick(given, all),
      model: given.model,
      out,
      signal: interruptSignal(given.mpi),
      onRanks: tellRanks,
      onStart: tell,
    } as FinetuneOptions)

    const best = await follow(steps, out, progress)
    progress[Symbol.dispose]()
    note(`the checkpoints are in ${join(out, 'step-*')}`)
    if (best)
      note(`the validation loss was lowest after step ${best.step}: ${best.loss.toFixed(4)}`)
  })
addOptions(finetuneCommand, all)

function tell(summary: FinetuneSummary): void {
  const { objective, examples, validationRows, steps, trainedParameters, memory } = summary
  const measured = validationRows > 0 ? `, ${formatCount(validationRows)} to measure on` : ''
  note(`${objective}: ${describeExamples(examples)}${measured}`)
  const warning = warningOf(examples)
  if (warning) note(warning)
  const gigabytes = (memory / 1e9).toFixed(1)
  note(`${steps} steps, ${formatCount(trainedParameters)} parameters, ${gigabytes} GB of memory`)
}

/** Runs the steps, draws their bar and keeps their log. Returns where the validation loss was lowest. */
async function follow(
  steps: AsyncIterable<FinetuneStep>,
  out: string,
  progress: TrainingProgress,
): Promise<{ step: number; loss: number } | undefined> {
  let log: TrainingLog | undefined
  for await (const step of steps) {
    log ??= await TrainingLog.open(out, step.step)
    await log.add(step)
    progress.update(step)
    if (step.checkpoint) await log.drawCurve()
  }
  return log?.lowestValidation
}
