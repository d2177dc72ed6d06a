import type { OpenELMConfig } from './config.js'
import type { NativeConfig } from './native.js'

/** The shape of a model as native code takes it. */
export function nativeConfig(config: OpenELMConfig): NativeConfig {
  return {
    numLayers: config.numLayers,
    modelDim: config.modelDim,
    headDim: config.headDim,
    vocabSize: config.vocabSize,
    maxContextLength: config.maxContextLength,
    numQueryHeads: [...config.numQueryHeads],
    numKvHeads: [...config.numKvHeads],
    ffnDims: [...config.ffnDims],
    ffnWithGlu: config.ffnWithGlu,
    normalizeQkProjections: config.normalizeQkProjections,
    shareInputOutputLayers: config.shareInputOutputLayers,
    ropeFreqConstant: config.ropeFreqConstant,
    rmsNormEps: config.rmsNormEps,
  }
}
