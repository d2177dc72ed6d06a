import { createHash } from 'node:crypto'
import { abortable } from '../abortable.js'
import type { Checkpoint } from '../checkpoint.js'
import { configToJson, tensorSpecs } from '../config.js'
import { pull } from '../hub/pull.js'
import { parseRepositoryName } from '../hub/snapshot.js'
import { locateModel } from '../locate-model.js'
import { nativeTensors } from '../native-tensors.js'
import { openUnpacked } from '../open-unpacked.js'
import { readFloat32 } from '../read-float32.js'
import { readRows } from '../read-rows.js'
import type { Trainer } from './trainer.js'

/** Of a matrix, out of how many numbers some go into the hash: reading all would take minutes. */
const sampledElements = 2 ** 22
const hashedElements = 2 ** 14

/**
 * Opens the model that a run starts from; one of the hub that is not on this machine is pulled first.
 *
 * @throws OpenELMError as `openCheckpoint` and `pull`, or the reason of `signal`.
 */
export async function openBase(
  model: string,
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  const isRemote = parseRepositoryName(model) && (await locateModel(model)) === undefined
  return openUnpacked(isRemote ? await pull(model, { signal }) : model)
}

/**
 * Reads the weights of a checkpoint into a trainer, as what it keeps or trains.
 *
 * @throws OpenELMError IO_ERROR, INVALID_CHECKPOINT, or the reason of `signal`.
 */
export function loadBase(
  checkpoint: Checkpoint,
  trainer: Trainer,
  signal: AbortSignal | undefined,
): Promise<void> {
  return abortable(signal, () => ({
    promise: trainer.load(nativeTensors(checkpoint)),
    cancel: () => trainer.cancel(),
  }))
}

/**
 * A hash of the shape of a model and of samples of its weights, to know it by.
 *
 * @throws OpenELMError IO_ERROR
 */
export async function hashOfBase(checkpoint: Checkpoint): Promise<string> {
  const hash = createHash('sha256')
  hash.update(JSON.stringify(configToJson(checkpoint.config, 'float32')))
  const add = (values: Float32Array) => {
    const length = Math.min(values.length, hashedElements)
    hash.update(new Uint8Array(values.buffer, values.byteOffset, 4 * length))
  }
  for (const { name, shape } of tensorSpecs(checkpoint.config)) {
    const [rows, columns] = shape as [number, number?]
    if (columns === undefined) {
      add(await readFloat32(checkpoint.tensors.get(name)!, shape))
      continue
    }
    const stride = Math.max(1, Math.floor(sampledElements / columns))
    const sampled = Math.min(stride, Math.ceil(hashedElements / columns))
    for (let first = 0; first < rows; first += stride) {
      const count = Math.min(sampled, rows - first)
      add(await readRows(checkpoint, name, { first, count, columns }))
    }
  }
  return hash.digest('hex')
}
