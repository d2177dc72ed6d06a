/** How two answers are compared: of Rafailov et al. (sigmoid), SLiC (hinge), and Azar et al. (ipo). */
export type DpoLoss = 'sigmoid' | 'hinge' | 'ipo'

export interface PreferenceOptions {
  readonly dpoLoss: DpoLoss
  readonly beta: number
  /** The share of pairs that are taken to be the wrong way around, with sigmoid alone. */
  readonly labelSmoothing: number
}

/** Of an answer: the sum of its tokens' log-probabilities, under the model and before it was tuned. */
export interface AnswerScore {
  readonly logprob: number
  readonly reference: number
  /** Its tokens. */
  readonly length: number
}

export interface PreferenceLoss {
  readonly loss: number
  /** The derivatives of the loss by the log-probabilities of the chosen and of the rejected answer. */
  readonly slopes: readonly [chosen: number, rejected: number]
  readonly rewardChosen: number
  readonly rewardRejected: number
}

/**
 * The loss of direct preference optimisation for one pair, as TRL has it. With z the log-ratio of the
 * chosen answer less that of the rejected one: -log sigmoid(beta z), max(0, 1 - beta z), or with means
 * rather than sums over the tokens (z - 1 / (2 beta))^2.
 */
export function preferenceLoss(
  chosen: AnswerScore,
  rejected: AnswerScore,
  { dpoLoss, beta, labelSmoothing }: PreferenceOptions,
): PreferenceLoss {
  const [chosenWeight, rejectedWeight] = [chosen, rejected].map(({ length }) =>
    dpoLoss === 'ipo' ? 1 / length : 1,
  ) as [number, number]
  const chosenRatio = (chosen.logprob - chosen.reference) * chosenWeight
  const rejectedRatio = (rejected.logprob - rejected.reference) * rejectedWeight
  const { loss, slope } = lossOf(chosenRatio - rejectedRatio, { dpoLoss, beta, labelSmoothing })
  return {
    loss,
    slopes: [slope * chosenWeight, -slope * rejectedWeight],
    rewardChosen: beta * chosenRatio,
    rewardRejected: beta * rejectedRatio,
  }
}

/** The loss, and its derivative by z. */
function lossOf(z: number, { dpoLoss, beta, labelSmoothing }: PreferenceOptions) {
  switch (dpoLoss) {
    case 'sigmoid':
      return {
        loss: softplus(-beta * z) * (1 - labelSmoothing) + softplus(beta * z) * labelSmoothing,
        slope:
          beta * (sigmoid(beta * z) * labelSmoothing - sigmoid(-beta * z) * (1 - labelSmoothing)),
      }
    case 'hinge':
      return { loss: Math.max(0, 1 - beta * z), slope: beta * z < 1 ? -beta : 0 }
    case 'ipo': {
      const distance = z - 1 / (2 * beta)
      return { loss: distance ** 2, slope: 2 * distance }
    }
  }
}

/** -log sigmoid(-x), without overflow. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x))
}
