import { createHash } from 'node:crypto'
import type { Checkpoint } from '../checkpoint.js'
import { configToJson, tensorSpecs } from '../config.js'
import type { NativeTrainer, NativeTrainerArray } from '../native-trainer.js'
import { readFloat32 } from '../read-float32.js'
import { readRows } from '../read-rows.js'

/** Of a matrix, what is read at a time. */
const mostElements = 2 ** 22

/** Of that, what goes into the hash: reading all of a large model twice would take minutes. */
const hashedBytes = 2 ** 16

/**
 * Copies the weights of a checkpoint into an array of a trainer; quantised ones become float32.
 *
 * @returns a hash of the shape and of samples of the weights, to know the model by.
 * @throws OpenELMError IO_ERROR, or the reason of `signal`.
 */
export async function loadBase(
  checkpoint: Checkpoint,
  trainer: NativeTrainer,
  array: NativeTrainerArray,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256')
  hash.update(JSON.stringify(configToJson(checkpoint.config, 'float32')))
  let begin = 0
  const add = (values: Float32Array) => {
    signal?.throwIfAborted()
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    hash.update(bytes.subarray(0, hashedBytes))
    trainer.write(array, begin, bytes)
    begin += values.length
  }
  for (const { name, shape } of tensorSpecs(checkpoint.config)) {
    const [rows, columns] = shape as [number, number?]
    if (columns === undefined) {
      add(await readFloat32(checkpoint.tensors.get(name)!, shape))
      continue
    }
    const most = Math.max(1, Math.floor(mostElements / columns))
    for (let first = 0; first < rows; first += most) {
      const count = Math.min(most, rows - first)
      add(await readRows(checkpoint, name, { first, count, columns }))
    }
  }
  return hash.digest('hex')
}
