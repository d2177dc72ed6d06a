import { countParameters, type OpenELMConfig } from '../config.js'
import { integer, number, readOptions } from '../options.js'

/** Options of {@link predictScaling}. */
export interface ScalingOptions {
  /** Processes, from 1. */
  ranks: number
  /** Tokens of a step, of all ranks; from 1. */
  tokens: number
  /** Operations a second that one rank sustains, above 0: a multiply-add is two. */
  flops: number
  /** Bytes a second that one rank sends while it receives as many, above 0. */
  bandwidth: number
}

/** What training on several ranks is predicted to be. */
export interface Scaling {
  /** Bytes that each rank sends in a step, and receives. */
  bytes: number
  computeSeconds: number
  exchangeSeconds: number
  /** The part of the time that is spent on computing. */
  efficiency: number
}

const rules = {
  ranks: integer(1),
  tokens: integer(1),
  flops: number({ above: 0 }),
  bandwidth: number({ above: 0 }),
}

/** Operations for each parameter and token, forward and backward: measured over the presets. */
const operations = 6.7

/** Bytes that each rank sends in a step: gradients to their owners, and weights from there, in float32. */
export function exchangedBytes(config: OpenELMConfig, ranks: number): number {
  return (8 * countParameters(config) * (ranks - 1)) / ranks
}

/**
 * Predicts the time of a step on several ranks that compute, and then exchange: without stragglers and
 * latency. Whatever the model, it is 90% efficient with about 11 * flops / bandwidth tokens a rank.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function predictScaling(config: OpenELMConfig, options: ScalingOptions): Scaling {
  const { ranks, tokens, flops, bandwidth } = readOptions(options, rules)
  const bytes = exchangedBytes(config, ranks)
  const computeSeconds = (operations * countParameters(config) * tokens) / ranks / flops
  const exchangeSeconds = bytes / bandwidth
  const efficiency = computeSeconds / (computeSeconds + exchangeSeconds)
  return { bytes, computeSeconds, exchangeSeconds, efficiency }
}
