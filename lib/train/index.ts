/**
 * Training a model of the family on the CPU, with OpenELM's recipe.
 *
 * @module
 */
export type { AdapterSpec } from '../adapters/adapter-spec.js'
export {
  type AdapterFacts,
  type InspectAdapterOptions,
  inspectAdapter,
  isAdapter,
  type TargetFacts,
} from '../adapters/inspect-adapter.js'
export {
  type MergedTarget,
  type MergeOptions,
  type MergeReport,
  merge,
} from '../adapters/merge.js'

export { type AverageOptions, average } from './average.js'
export { fineTuningPresets } from './examples/presets.js'
export { describeExamples, type ExampleSummary, warningOf } from './examples/summary.js'
export { finetune } from './finetune.js'
export type { FinetuneOptions, FinetuneSummary } from './finetune-recipe.js'
export type { FinetuneStep } from './finetune-step.js'
export { type FinetuningShape, finetuningMemory } from './finetuning-memory.js'
export { type MpiLibrary, mpiLibraries } from './mpi-libraries.js'
export { assistRun, type RankOptions, type RankSummary } from './on-ranks.js'
export { plotLog } from './plot-log.js'
export { hyperparameters } from './presets.js'
export { type RecipeOptions, readFinetuneRecipe, readRecipe } from './read-recipe.js'
export type { TrainOptions } from './recipe.js'
export { predictScaling, type Scaling, type ScalingOptions } from './scaling.js'
export { train } from './train.js'
export type { TrainStep } from './train-step.js'
export { type TrainTokenizerOptions, trainTokenizer } from './train-tokenizer.js'
export { TrainingLog } from './training-log.js'
export { type TrainingShape, trainingMemory } from './training-memory.js'
