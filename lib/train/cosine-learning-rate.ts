import type { Schedule } from './learning-rate.js'

/**
 * The learning rate of step `t`, from 0, as Hugging Face's cosine schedule has it: a line from 0 up to
 * `maxLearningRate`, then half a cosine that would reach `minLearningRate` one step after the last. It is
 * not rounded: rates of fine-tuning are small.
 */
export function cosineLearningRate(
  t: number,
  schedule: Omit<Schedule, 'warmupLearningRate'>,
): number {
  const { steps, warmupSteps, maxLearningRate, minLearningRate } = schedule
  if (t < warmupSteps) return (maxLearningRate * t) / warmupSteps
  const phase = (Math.PI * (t - warmupSteps)) / Math.max(1, steps - warmupSteps)
  return minLearningRate + (maxLearningRate - minLearningRate) * 0.5 * (1 + Math.cos(phase))
}
