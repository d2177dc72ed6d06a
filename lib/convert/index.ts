/**
 * Making checkpoints of others: smaller ones, packed ones, ones with random weights, and the files of llama.cpp and
 * PyTorch.
 *
 * @module
 */
export {
  type Checkpoint,
  type CheckpointTensor,
  type Layout,
  openCheckpoint,
  type TensorDType,
  type TensorHeader,
  type TensorSource,
  tensorHeaders,
  type WriteOptions,
  writeCheckpoint,
} from '../checkpoint.js'
export { isTorchFile } from '../torch/torch-checkpoint.js'
export { type AdapterToGgufOptions, adapterToGguf } from './gguf/adapter-to-gguf.js'
export {
  type CheckpointToGgufOptions,
  checkpointToGguf,
  type GgufDType,
  ggufDTypes,
} from './gguf/checkpoint-to-gguf.js'
export { type GgufToCheckpointOptions, ggufToCheckpoint } from './gguf/gguf-to-checkpoint.js'
export { type InitializeOptions, initialize } from './initialize.js'
export { type PackOptions, pack } from './pack.js'
export { type QuantizeOptions, quantize } from './quantize.js'
export { type TorchToCheckpointOptions, torchToCheckpoint } from './torch-to-checkpoint.js'
export { type TorchToSafetensorsOptions, torchToSafetensors } from './torch-to-safetensors.js'
