import { abortable } from './abortable.js'
import { type BackendName, backends } from './backends.js'
import { type Checkpoint, type DType, openCheckpoint } from './checkpoint.js'
import { invalidArgument, OpenELMError, type OpenELMErrorCode } from './errors.js'
import { pull } from './hub/pull.js'
import { parseRepositoryName } from './hub/snapshot.js'
import type { LoadOptions, readLoadOptions } from './load-options.js'
import { loadTextParts, type TextParts } from './load-text-parts.js'
import { locateModel } from './locate-model.js'
import { loadNative, type NativeModel } from './native.js'
import { nativeConfig } from './native-config.js'
import { nativeTensors } from './native-tensors.js'

export interface LoadedModel {
  readonly checkpoint: Checkpoint
  readonly native: NativeModel
  readonly backend: BackendName
  readonly dtype: DType
  readonly textParts: TextParts
}

/** Loads what a model is made of: see `OpenELM.load`. */
export async function loadModel(
  source: string,
  options: ReturnType<typeof readLoadOptions>,
): Promise<LoadedModel> {
  options.signal?.throwIfAborted()
  const { signal, report } = reporter(options.signal, options.onProgress)
  const directory =
    (await locateModel(source)) ??
    (options.download && (await download(source, signal, report?.('download'))))
  const checkpoint = await openCheckpoint(directory || source)
  const { dtype, backend: choice, mmap } = settingsFor(checkpoint, options)
  const textParts = await loadTextParts(checkpoint, options)
  const nativeOptions = {
    config: nativeConfig(checkpoint.config),
    tensors: nativeTensors(checkpoint),
    dtype,
    deviceIndex: options.deviceIndex,
    threads: options.threads,
    kvCacheDtype: options.kvCacheDtype,
    mmap,
  }
  const { native, backend } = await loadOn(choice, backend =>
    abortable(
      signal,
      () => loadNative().load({ ...nativeOptions, backend }, report?.('load')),
      native => native.dispose(),
    ),
  )
  return { checkpoint, native, backend, dtype, textParts }
}

/** What holds for a packed checkpoint, which is the memory of the CPU backend, and for others. */
function settingsFor(
  { directory, dtype, layout }: Checkpoint,
  options: ReturnType<typeof readLoadOptions>,
) {
  const isPacked = layout === 'panels'
  const { backend, mmap = isPacked, dtype: asked = dtype } = options
  if (!isPacked) return { backend, mmap, dtype: asked }
  if (asked !== dtype) {
    throw invalidArgument('options.dtype', `${dtype}, as which ${directory} is packed`, asked)
  }
  if (backend !== 'auto' && backend !== 'cpu') {
    throw invalidArgument('options.backend', `cpu, for which ${directory} is packed`, backend)
  }
  return { backend: 'cpu', mmap, dtype } as const
}

/** A signal that is also aborted, with what it throws, when the caller's `onProgress` throws. */
function reporter(signal: AbortSignal | undefined, onProgress: LoadOptions['onProgress']) {
  if (onProgress === undefined) return { signal, report: undefined }
  const failure = new AbortController()
  const report = (phase: 'download' | 'load') => (doneBytes: number, totalBytes: number) => {
    try {
      onProgress(doneBytes, totalBytes, phase)
    } catch (error) {
      failure.abort(error)
    }
  }
  return { signal: AbortSignal.any([failure.signal, ...(signal ? [signal] : [])]), report }
}

/** What is named like a repository of the hub comes from there. */
async function download(
  source: string,
  signal: AbortSignal | undefined,
  onProgress: ((doneBytes: number, totalBytes: number) => void) | undefined,
): Promise<string | undefined> {
  if (parseRepositoryName(source) === undefined) return undefined
  try {
    return await pull(source, { signal, onProgress })
  } catch (error) {
    if (!(error instanceof OpenELMError) || error.code === 'INVALID_ARGUMENT') throw error
    const message = `there is no directory ${source}, and ${error.message}`
    throw new OpenELMError(error.code, message, { cause: error })
  }
}

function preferredBackend(): BackendName {
  const available = backends().filter(backend => backend.available && backend.name !== 'cpu')
  return available[0]?.name ?? 'cpu'
}

/** Loads on the backend asked for; under 'auto' on the CPU where a GPU turns out not to do. */
async function loadOn(
  choice: 'auto' | BackendName,
  load: (backend: BackendName) => Promise<NativeModel>,
): Promise<{ native: NativeModel; backend: BackendName }> {
  const backend = choice === 'auto' ? preferredBackend() : choice
  try {
    return { native: await load(backend), backend }
  } catch (error) {
    if (choice !== 'auto' || backend === 'cpu' || !isFailureOfDevice(error)) throw error
    return { native: await load('cpu'), backend: 'cpu' }
  }
}

/** Whether another device may do better: this one is too small, cannot run the model, or has failed. */
function isFailureOfDevice(error: unknown): boolean {
  const codes: OpenELMErrorCode[] = ['OUT_OF_MEMORY', 'BACKEND_UNAVAILABLE', 'INTERNAL']
  return error instanceof OpenELMError && codes.includes(error.code)
}
