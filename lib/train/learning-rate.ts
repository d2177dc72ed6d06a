export interface Schedule {
  /** Of all steps together. */
  steps: number
  warmupSteps: number
  /** Where the warm-up starts. */
  warmupLearningRate: number
  /** Where the warm-up ends. */
  maxLearningRate: number
  /** Where the cosine ends. */
  minLearningRate: number
}

/**
 * The learning rate of step `t`, from 0: a line up to `maxLearningRate`, then half a cosine down to
 * `minLearningRate`. As in CoreNet, the half period is one step longer than what remains after the
 * warm-up, and the rate is rounded to 8 decimals.
 */
export function learningRate(t: number, schedule: Schedule): number {
  const { steps, warmupSteps, warmupLearningRate, maxLearningRate, minLearningRate } = schedule
  const round = (rate: number) => Math.round(rate * 1e8) / 1e8
  if (t < warmupSteps) {
    return round(warmupLearningRate + (t * (maxLearningRate - warmupLearningRate)) / warmupSteps)
  }
  const phase = (Math.PI * (t - warmupSteps)) / (steps - warmupSteps + 1)
  return round(minLearningRate + 0.5 * (maxLearningRate - minLearningRate) * (1 + Math.cos(phase)))
}
