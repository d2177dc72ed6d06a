import type { TrainStep } from './train-step.js'

/** What is known after a step of fine-tuning. Losses are means, over trained tokens or over pairs. */
export interface FinetuneStep
  extends Pick<
    TrainStep,
    'step' | 'steps' | 'loss' | 'learningRate' | 'gradNorm' | 'tokensPerSecond' | 'checkpoint'
  > {
  /** How often the data has been gone through so far, with fractions. */
  epoch: number
  /** Trained tokens of the step. */
  targets: number
  /** Tokens that the model has read since the first step. */
  tokens: number
  /** Loss of the validation data, when this step measured it. */
  validationLoss?: number
  /**
   * Of preferences, means over the pairs of the step, before it: beta times how much more likely the
   * model has made an answer, their difference, and the share of pairs where it is above zero.
   */
  rewardChosen?: number
  rewardRejected?: number
  rewardMargin?: number
  rewardAccuracy?: number
  /** The log-probability of the answers. */
  logprobChosen?: number
  logprobRejected?: number
  /** The share of the validation pairs whose chosen answer has the higher reward. */
  validationRewardAccuracy?: number
}
