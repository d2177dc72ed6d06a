import type { OpenELMConfig } from '../config.js'
import type { DType } from '../tensor-headers.js'
import { planAdapter, TrainedAdapter } from './trained-adapter.js'
import { adapterMemory, trainingMemory } from './training-memory.js'

/** What the memory of fine-tuning depends on beside the model. */
export interface FinetuningShape {
  readonly method: 'lora' | 'dora' | 'full'
  /** Of an adapter of all linear layers. */
  readonly rank: number
  /** What the weights are kept as beside an adapter. */
  readonly dtype: DType
  /** Computed at a time: `microBatchTokens` of `finetune`. */
  readonly tokens: number
  readonly recompute: boolean
}

/** Bytes that `finetune` holds, about. */
export function finetuningMemory(config: OpenELMConfig, shape: FinetuningShape): number {
  const { method, rank, dtype, tokens, recompute } = shape
  const batch = { microBatchSize: 1, sequenceLength: tokens, recompute }
  if (method === 'full') return trainingMemory(config, batch)
  const layers = config.numLayers
  const plan = planAdapter(config, { rank, alpha: rank, rslora: false, targets: ['all'], layers })
  const { native, size } = new TrainedAdapter(config, method, plan, 0)
  return adapterMemory(config, batch, { native, size, dtype })
}
