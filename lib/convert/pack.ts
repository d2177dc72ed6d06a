import type { TensorHeader } from '../checkpoint.js'
import { readCompanions } from '../companions.js'
import { defaultThreads } from '../cpu-quota.js'
import { loadNative } from '../native.js'
import { nativeTensors } from '../native-tensors.js'
import { openUnpacked } from '../open-unpacked.js'
import { integer, optional, path, type RulesOf, readOptions } from '../options.js'
import { panelLayout } from '../panels.js'
import { readFloat32 } from '../read-float32.js'
import { matrixDType } from '../tensor-headers.js'
import { type WriteOptions, writeCheckpoint } from '../write-checkpoint.js'
import { progressOptions } from './progress-options.js'

/** Options of {@link pack}. */
export interface PackOptions extends Pick<WriteOptions, 'onProgress' | 'signal'> {
  /** CPU threads, from 1. Default one for each physical core, or what a container's quota allows. */
  threads?: number | undefined
}

const rules = { ...progressOptions, threads: optional(integer(1)) } satisfies RulesOf<PackOptions>

/**
 * Writes a checkpoint whose matrices are packed as the CPU backend reads them, in the dtype of the
 * source. It is mapped when it is loaded, rather than copied, and all processes that load it share its
 * pages. The tokenizer, the chat template and generation_config.json are copied.
 *
 * Only the CPU backend loads it, and nothing converts it back: keep the source.
 *
 * @param source the directory of a checkpoint, or the name of a bundled model.
 * @param directory new or empty.
 * @throws OpenELMError INVALID_ARGUMENT, also when the source is packed already; MODEL_NOT_FOUND,
 *   INVALID_CONFIG, INVALID_CHECKPOINT, IO_ERROR; or the reason of `options.signal`. Then no part of the
 *   checkpoint is left.
 */
export async function pack(
  source: string,
  directory: string,
  options?: PackOptions,
): Promise<void> {
  path('source', source)
  path('directory', directory)
  const { threads = defaultThreads(), onProgress, signal } = readOptions(options, rules)
  const checkpoint = await openUnpacked(source)
  const { config, dtype } = checkpoint
  const stored = new Map(nativeTensors(checkpoint).map(tensor => [tensor.name, tensor]))
  const addon = loadNative()

  async function* packed({ name, shape }: TensorHeader): AsyncGenerator<Uint8Array> {
    if (shape.length === 1) {
      yield new Uint8Array((await readFloat32(checkpoint.tensors.get(name)!)).buffer)
      return
    }
    const matrix = stored.get(name)!
    const type = matrixDType(dtype, name, matrix.cols)
    yield await addon.pack(matrix, type, panelLayout(name, config), threads)
  }
  const companions = await readCompanions(checkpoint.directory)
  await writeCheckpoint(directory, config, dtype, packed, {
    layout: 'panels',
    companions,
    onProgress,
    signal,
  })
}
