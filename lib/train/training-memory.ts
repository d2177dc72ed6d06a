import { countParameters, type OpenELMConfig } from '../config.js'
import type { NativeAdapterOptions } from '../native-trainer.js'
import { type DType, tensorHeaders } from '../tensor-headers.js'

/** What the memory of training depends on beside the model. */
export interface TrainingShape {
  microBatchSize: number
  sequenceLength: number
  recompute: boolean
  /** Parts that the gradient of a step is summed in, and processes that share them. Default 1. */
  split?: number | undefined
  ranks?: number | undefined
}

const floatBytes = 4

/** Rows whose logits are in memory at a time. */
const headRows = 512

/**
 * Bytes that training holds in each process: weights, gradients and two moments of each parameter, and the activations
 * of a micro-batch, for which native/train/activations.h has the list.
 */
export function trainingMemory(config: OpenELMConfig, shape: TrainingShape): number {
  return trainedMemory(countParameters(config), shape) + activationMemory(config, shape)
}

/**
 * Of so many numbers: weights, gradients, those of parts that wait for their neighbours, and the rank's
 * share of the moments. Ranks also keep what they exchange: native/train/sharded_step.h has how much.
 */
function trainedMemory(size: number, { split = 1, ranks = 1 }: TrainingShape): number {
  const waiting = Math.floor(Math.log2(split / ranks))
  const exchanged = ranks === 1 ? 0 : Math.min(2 ** 25, 2 * size)
  return floatBytes * (size * (2 + waiting + 2 / ranks) + exchanged)
}

/** The same for an adapter of so many numbers, beside weights that are kept in a dtype. */
export function adapterMemory(
  config: OpenELMConfig,
  shape: TrainingShape,
  { native, size, dtype }: { native: NativeAdapterOptions; size: number; dtype: DType },
): number {
  const rows = shape.microBatchSize * shape.sequenceLength
  const outOf = ({ layer, module }: NativeAdapterOptions['targets'][number]) => {
    if (module === 'qkv_proj') {
      return config.headDim * (config.numQueryHeads[layer]! + 2 * config.numKvHeads[layer]!)
    }
    return module === 'proj_1'
      ? (config.ffnWithGlu ? 2 : 1) * config.ffnDims[layer]!
      : config.modelDim
  }
  const kept = shape.recompute ? native.targets.slice(-4) : native.targets
  const ranks = kept.reduce((sum, { rank }) => sum + rank, 0)
  // With DoRA, what each target has made of its input is kept as well.
  const outs = native.dora ? kept.reduce((sum, target) => sum + outOf(target), 0) : 0
  const frozen = tensorHeaders(config, dtype, 'F32').reduce((sum, one) => sum + one.byteLength, 0)
  const activations = floatBytes * rows * (ranks + outs) + activationMemory(config, shape)
  return frozen + trainedMemory(size, shape) + activations
}

function activationMemory(config: OpenELMConfig, shape: TrainingShape): number {
  const { modelDim: d, headDim: h, numLayers, vocabSize } = config
  const rows = shape.microBatchSize * shape.sequenceLength
  const halves = config.ffnWithGlu ? 2 : 1
  const layers = Array.from({ length: numLayers }, (_, layer) => {
    const q = config.numQueryHeads[layer]! * h
    const kv = config.numKvHeads[layer]! * h
    return { q, qkv: q + 2 * kv, qk: q + kv, heads: q / h, f: config.ffnDims[layer]! }
  })
  const widest = (key: 'q' | 'qkv' | 'f') => Math.max(...layers.map(layer => layer[key]))
  const kept = shape.recompute
    ? [{ q: widest('q'), qkv: widest('qkv'), qk: widest('qkv'), heads: 0, f: widest('f') }]
    : layers

  const keptWidth = kept.reduce(
    (sum, { q, qkv, qk, heads, f }) => sum + qkv + qk + q + heads + d + halves * f,
    0,
  )
  const sharedWidth = 4 * d + 2 * widest('qkv') + widest('q') + (2 + halves) * widest('f')
  const residualWidth = (numLayers + 1) * d
  const logits = Math.min(headRows, rows) * vocabSize
  const headInputs = 2 * Math.min(headRows, rows) * d
  // Copies of the factors of matrix products: of the first the whole, of the other a strip.
  const left = Math.max(rows * Math.max(widest('qkv'), halves * widest('f')), logits)
  const matrices = layers.flatMap(({ q, qkv, f }) => [
    [qkv, d],
    [d, q],
    [halves * f, d],
    [d, f],
  ])
  const right = [...matrices, [vocabSize, d]].map(([out, input]) => {
    return Math.max(
      panelElements(input!, out!),
      panelElements(out!, input!),
      panelElements(rows, input!),
    )
  })
  const activations = rows * (keptWidth + sharedWidth + residualWidth) + headInputs + logits
  return floatBytes * (activations + left + Math.max(...right))
}

/** Of a factor of a product, [depth, columns], how much is copied at a time: as in native/train/matmul.cc. */
function panelElements(depth: number, columns: number): number {
  const strip = Math.max(8 * Math.floor(2 ** 21 / 16 / depth / 8), 32) * 16
  return depth * Math.min(strip, columns)
}
