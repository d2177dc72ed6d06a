/** What is known after a step. Losses are natural logarithms, means over the tokens with a target. */
export interface TrainStep {
  /** From 1. */
  step: number
  steps: number
  /** Cross-entropy of the batch, before the step. */
  loss: number
  /** What is added to the loss to keep logits small; padding counts in it, as in CoreNet. */
  zLoss: number
  learningRate: number
  /** L2 norm of the gradients before clipping. */
  gradNorm: number
  /** Positions since the first step of the run, padding included. */
  tokens: number
  tokensPerSecond: number
  /** Tokens of the step's pieces that sequences had no room for: none with `packing`. */
  leftOutTokens: number
  /** Cross-entropy of the validation data, when this step measured it. */
  validationLoss?: number
  /** The directory of the checkpoint, when this step wrote one. */
  checkpoint?: string
}
