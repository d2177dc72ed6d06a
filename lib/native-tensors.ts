import type { Checkpoint, CheckpointTensor } from './checkpoint.js'
import { tensorSpecs } from './config.js'
import type { NativeTensor } from './native.js'
import { panelLayout } from './panels.js'

/**
 * The tensors of a checkpoint as native code reads them: matrices with their logical shape, quantised
 * ones together with their scales, and of a CoreNet embedding only the rows of the vocabulary.
 */
export function nativeTensors(checkpoint: Checkpoint): NativeTensor[] {
  const { config, layout } = checkpoint
  return tensorSpecs(config).map(({ name, shape, kind }) => {
    const { file, offset, dtype } = checkpoint.tensors.get(name) as CheckpointTensor
    const [rows, cols] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!]
    const scales = checkpoint.tensors.get(`${name}_scale`)
    return {
      name,
      file,
      offset,
      dtype,
      rows,
      cols,
      ...(layout === 'panels' && kind === 'matrix' && { panels: panelLayout(name, config) }),
      ...(scales && { scalesFile: scales.file, scalesOffset: scales.offset }),
    }
  })
}
