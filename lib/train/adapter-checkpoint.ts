import { join } from 'node:path'
import type { AdapterTarget } from '../adapters/adapter.js'
import { readAdapter } from '../adapters/read-adapter.js'
import { transpose } from '../adapters/transpose.js'
import { peftTensors, writeAdapter } from '../adapters/write-adapter.js'
import type { OpenELMConfig } from '../config.js'
import { writeWhole } from '../files.js'
import { encodeSafetensorsHeader, readSafetensorsHeader } from '../safetensors.js'
import { type DType, embeddingsName } from '../tensor-headers.js'
import type { TrainedAdapter } from './trained-adapter.js'
import type { Trainer } from './trainer.js'
import {
  moments,
  optimizerName,
  type RunState,
  readMoment,
  readState,
  saveStep,
  writeState,
} from './training-checkpoint.js'

/**
 * Writes the adapter as PEFT has it, which every tool can load, together with the optimiser's state.
 *
 * @param base what the base model is called, and what its weights were kept as.
 */
export function saveAdapter(
  out: string,
  trainer: Trainer,
  layout: TrainedAdapter,
  base: { readonly name: string; readonly dtype: DType },
  others: ReadonlyMap<string, Uint8Array>,
  state: RunState,
): Promise<string> {
  return saveStep(out, state.step, async directory => {
    const weights = await layout.read(trainer, 'weights')
    await writeAdapter(directory, weights, base.name, base.dtype)
    const tensors = []
    for (const [moment, array] of Object.entries(moments)) {
      const { targets } = await layout.read(trainer, array)
      for (const { name, shape, values } of peftTensors(targets)) {
        const header = { name: `${name}.${moment}`, shape, dtype: 'F32' as const }
        tensors.push({ header, values })
      }
    }
    const headers = tensors.map(({ header }) => header)
    await writeWhole(join(directory, optimizerName), [
      encodeSafetensorsHeader(headers, {}),
      ...tensors.map(({ values: { buffer, byteOffset, byteLength } }) => {
        return new Uint8Array(buffer, byteOffset, byteLength)
      }),
    ])
    for (const [name, bytes] of others) await writeWhole(join(directory, name), [bytes])
    await writeState(directory, state)
  })
}

/**
 * Reads what `saveAdapter` has written into a trainer.
 *
 * @throws OpenELMError INVALID_CHECKPOINT when it was made with other options.
 */
export async function loadAdapter<State extends RunState>(
  directory: string,
  trainer: Trainer,
  layout: TrainedAdapter,
  config: OpenELMConfig,
  recipe: Record<string, unknown>,
): Promise<State> {
  const state = await readState<State>(directory, recipe)
  await layout.write(trainer, 'weights', await readAdapter(directory, config))
  const file = join(directory, optimizerName)
  const header = await readSafetensorsHeader(file)
  for (const [moment, array] of Object.entries(moments)) {
    const adapter = await layout.read(trainer, array)
    const targets = new Map<string, AdapterTarget>()
    for (const [matrix, target] of adapter.targets) {
      const values: Float32Array[] = []
      for (const { name, shape } of peftTensors(new Map([[matrix, target]]))) {
        const bytes = await readMoment(file, header, `${name}.${moment}`, shape)
        values.push(new Float32Array(new Uint8Array(bytes).buffer))
      }
      targets.set(matrix, momentsOf(matrix, target.rank, values))
    }
    await layout.write(trainer, array, { ...adapter, targets })
  }
  return state
}

/** The moments of a target, of its tensors in PEFT's order: `peftTensors` has the embedding transposed. */
function momentsOf(matrix: string, rank: number, values: readonly Float32Array[]): AdapterTarget {
  const [first, second, magnitudes] = values as [Float32Array, Float32Array, Float32Array?]
  if (matrix !== embeddingsName) return { rank, scale: 1, a: first, b: second, magnitudes }
  const a = transpose(second, rank)
  return { rank, scale: 1, a, b: transpose(first, first.length / rank), magnitudes: undefined }
}
