import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TensorHeader, writeCheckpoint } from '../checkpoint.js'
import { type OpenELMConfig, tensorSpecs } from '../config.js'
import { OpenELMError } from '../errors.js'
import { ioError, readDirectory, readJsonObject, readRange, writeWhole } from '../files.js'
import type { NativeTrainerArray } from '../native-trainer.js'
import { openUnpacked } from '../open-unpacked.js'
import { byteLengthOf, encodeSafetensorsHeader, readSafetensorsHeader } from '../safetensors.js'
import { isJsonObject } from '../strict-json.js'
import type { BatchCursor } from './batches.js'
import type { TrainStep } from './train-step.js'
import type { Trainer } from './trainer.js'

/** Where any run stands, beside its weights and moments. */
export interface RunState {
  /** Steps done. */
  step: number
  /** What the run was started with. It can only be continued with the same. */
  recipe: Record<string, unknown>
}

/** Where a training stands. */
export interface TrainingState extends RunState {
  cursor: BatchCursor
  /** The last step, when the run was aborted before it told it. */
  untold?: TrainStep
}

/** A piece of text without spaces can leave millions of tokens to later sequences. */
export const mostStateBytes = 2 ** 29

export const optimizerName = 'optimizer.safetensors'
export const stateName = 'training.json'
export const moments = { first_moment: 'firstMoments', second_moment: 'secondMoments' } as const

/** Where each tensor lies in the arrays of a trainer. */
function placesOf(config: OpenELMConfig) {
  const places = new Map<string, { begin: number; shape: readonly number[] }>()
  let begin = 0
  for (const { name, shape } of tensorSpecs(config)) {
    places.set(name, { begin, shape })
    begin += shape.reduce((product, length) => product * length, 1)
  }
  return places
}

async function readTensor(
  trainer: Trainer,
  array: NativeTrainerArray,
  { begin, shape }: { begin: number; shape: readonly number[] },
): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLengthOf({ dtype: 'F32', shape }))
  await trainer.read(array, begin, bytes)
  return bytes
}

/** Makes the directory of a step, which has its name only once `write` has written all of it. */
export async function saveStep(
  out: string,
  step: number,
  write: (directory: string) => Promise<void>,
): Promise<string> {
  const directory = join(out, `step-${String(step).padStart(8, '0')}`)
  const temporary = `${directory}.${randomUUID()}.tmp`
  try {
    await write(temporary)
    await rename(temporary, directory).catch(cause => {
      throw ioError('write', directory, cause)
    })
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {})
    throw error
  }
  return directory
}

/**
 * Writes the model in the format of every other checkpoint, in float32, together with the optimiser's
 * state and what else belongs to the model, such as its tokenizer.
 */
export function saveTraining(
  out: string,
  trainer: Trainer,
  config: OpenELMConfig,
  others: ReadonlyMap<string, Uint8Array>,
  state: RunState,
): Promise<string> {
  const places = placesOf(config)
  async function* weights({ name }: TensorHeader) {
    yield await readTensor(trainer, 'weights', places.get(name)!)
  }
  return saveStep(out, state.step, async directory => {
    const companions = new Map([...others, [stateName, Buffer.from(JSON.stringify(state))]])
    await writeCheckpoint(directory, config, 'float32', weights, { companions })
    await writeWhole(join(directory, optimizerName), optimizerChunks(trainer, places))
  })
}

/** Writes the state of a complete checkpoint anew. */
export async function writeState(directory: string, state: RunState): Promise<void> {
  await writeWhole(join(directory, stateName), [Buffer.from(JSON.stringify(state))])
}

async function* optimizerChunks(trainer: Trainer, places: ReturnType<typeof placesOf>) {
  const headers = [...places].flatMap(([name, { shape }]) =>
    Object.keys(moments).map(moment => ({
      name: `${name}.${moment}`,
      dtype: 'F32' as const,
      shape,
    })),
  )
  yield encodeSafetensorsHeader(headers, {})
  for (const place of places.values()) {
    for (const array of Object.values(moments)) yield await readTensor(trainer, array, place)
  }
}

/** The complete checkpoints of a run, the oldest first. */
export async function listTraining(out: string): Promise<string[]> {
  const names = await readDirectory(out).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return []
    throw ioError('read', out, cause)
  })
  const complete = names.filter(name => /^step-\d{8,}$/.test(name))
  const stepOf = (name: string) => Number(name.slice('step-'.length))
  return complete.sort((a, b) => stepOf(a) - stepOf(b)).map(name => join(out, name))
}

/** Removes what a kill left half written, and all but the newest `keep` checkpoints. */
export async function tidyTraining(out: string, keep: number): Promise<void> {
  await mkdir(out, { recursive: true }).catch(cause => {
    throw ioError('create', out, cause)
  })
  const old = (await listTraining(out)).slice(0, -keep)
  const halves = (await readDirectory(out)).filter(name => /^step-\d+\..+\.tmp$/.test(name))
  for (const directory of [...old, ...halves.map(name => join(out, name))]) {
    await rm(directory, { recursive: true, force: true })
  }
}

/**
 * Reads a checkpoint into a trainer.
 *
 * @throws OpenELMError INVALID_CHECKPOINT when it is of another model or was made with other options.
 */
export async function loadTraining<State extends RunState>(
  directory: string,
  trainer: Trainer,
  config: OpenELMConfig,
  recipe: Record<string, unknown>,
): Promise<State> {
  const state = await readState<State>(directory, recipe)
  const { tensors } = await openUnpacked(directory)
  const optimizer = join(directory, optimizerName)
  const header = await readSafetensorsHeader(optimizer)
  for (const [name, place] of placesOf(config)) {
    const { file, offset } = tensors.get(name)!
    await trainer.write('weights', place.begin, await readFloat32Bytes(file, offset, place.shape))
    for (const [moment, array] of Object.entries(moments)) {
      const bytes = await readMoment(optimizer, header, `${name}.${moment}`, place.shape)
      await trainer.write(array, place.begin, bytes)
    }
  }
  return state
}

/** @throws OpenELMError INVALID_CHECKPOINT when the run was started with other options. */
export async function readState<State extends RunState>(
  directory: string,
  recipe: Record<string, unknown>,
): Promise<State> {
  const file = join(directory, stateName)
  const state = (await readJsonObject(file, mostStateBytes, 'INVALID_CHECKPOINT')) as unknown
  checkSame((state as State).recipe, recipe, file)
  return state as State
}

/** The bytes of a tensor of the optimiser's file, which must have this shape. */
export async function readMoment(
  file: string,
  { tensors }: Awaited<ReturnType<typeof readSafetensorsHeader>>,
  name: string,
  shape: readonly number[],
): Promise<Buffer> {
  const entry = tensors.get(name)
  if (entry?.dtype !== 'F32' || String(entry.shape) !== String(shape)) {
    throw new OpenELMError('INVALID_CHECKPOINT', `${file}: expected ${name} to be [${shape}]`)
  }
  return readFloat32Bytes(file, entry.offset, shape)
}

function readFloat32Bytes(file: string, offset: number, shape: readonly number[]): Promise<Buffer> {
  return readRange(file, offset, byteLengthOf({ dtype: 'F32', shape }))
}

function checkSame(saved: unknown, given: Record<string, unknown>, file: string, path = '') {
  for (const [name, value] of Object.entries(given)) {
    const before = isJsonObject(saved) ? saved[name] : undefined
    if (isJsonObject(before) && isJsonObject(value)) {
      checkSame(before, value, file, `${path}${name}.`)
      continue
    }
    const [was, is] = [JSON.stringify(before), JSON.stringify(value)]
    if (was === is) continue
    const short = (text = 'unset') => (text.length > 60 ? `${text.slice(0, 60)}…` : text)
    const what = `the run was started with ${path}${name} ${short(was)}, not ${short(is)}`
    throw new OpenELMError('INVALID_CHECKPOINT', `${file}: ${what}`)
  }
}
