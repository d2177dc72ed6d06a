import type { FileHandle } from 'node:fs/promises'
import { describe } from '../errors.js'
import { describeText } from '../file-kind.js'
import { readBytes, withFile } from '../files.js'
import type { SafetensorsDType } from '../safetensors.js'
import { describeJson } from '../strict-json.js'
import { invalid } from './invalid.js'
import { TorchTensor, torchNames } from './torch-names.js'
import { unpickle } from './unpickle.js'
import { dataOffset, localSignature, readZipDirectory } from './zip.js'

/** A tensor of a state dict and where it lies. */
export interface StridedTensor {
  readonly name: string
  readonly file: string
  readonly dtype: SafetensorsDType
  readonly shape: readonly number[]
  /** How many elements lie from one to the next, along each axis. */
  readonly strides: readonly number[]
  /** Of its first element in the file, in bytes. */
  readonly offset: number
}

const maxPickleBytes = 2 ** 22

/**
 * Reads what `torch.save` wrote: a state dict, or a training checkpoint that has one as
 * `model_state_dict`, `state_dict`, `model`, `module` or, when it has no other, `ema_state_dict`. Nothing
 * is executed, and of the tensors only the places are read; tensors of other dicts are not looked at.
 *
 * @returns its tensors in their order. Two may share their numbers, and a view may skip some.
 * @throws OpenELMError IO_ERROR when the file cannot be read, INVALID_CHECKPOINT naming the file and what
 *   is wrong with it, also for files of PyTorch before 1.6 and of big-endian machines.
 */
export async function readStateDict(file: string): Promise<StridedTensor[]> {
  return withFile(file, async (handle, size) => {
    const start = await readBytes(handle, file, 0, Math.min(size, 512))
    refuseOtherKinds(start, file)
    const entries = await readZipDirectory(handle, file, size)
    const folder = folderOf([...entries.keys()], file)
    const contentOf = async (name: string, maxBytes: number) => {
      const entry = entries.get(folder + name)
      if (entry === undefined) return undefined
      if (entry.byteLength > maxBytes) {
        const expected = `expected ${name} to have at most ${maxBytes} bytes`
        throw invalid(file, `${expected}, received ${entry.byteLength}`)
      }
      const offset = await dataOffset(handle, file, entry)
      return readBytes(handle, file, offset, entry.byteLength)
    }
    // Older versions do not write it, and ran on little-endian machines almost always.
    const byteOrder = (await contentOf('byteorder', 64))?.toString() ?? 'little'
    if (byteOrder !== 'little') {
      throw invalid(file, `expected little-endian numbers, received ${describeJson(byteOrder)}`)
    }
    const pickle = (await contentOf('data.pkl', maxPickleBytes))!
    const names = torchNames(file, key => entries.get(`${folder}data/${key}`))
    const stateDict = findStateDict(unpickle(pickle, file, names))
    if (stateDict === undefined) throw invalid(file, 'it holds no state dict, a dict of tensors')
    return locate(stateDict, handle, file)
  })
}

/** How a file of PyTorch before 1.6 begins: a pickle of the number that it took as its sign. */
const legacyStart = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')

function refuseOtherKinds(start: Buffer, file: string): void {
  const text = describeText(start)
  const isZip = start.length >= 4 && start.readUInt32LE() === localSignature
  if (text === undefined && isZip) return
  const again = 'in Python: torch.save(torch.load(path), path)'
  if (start.subarray(0, legacyStart.length).equals(legacyStart)) {
    throw invalid(file, `it has the format of PyTorch before 1.6; save it again, ${again}`)
  }
  throw invalid(file, `expected a file that torch.save wrote, but ${text ?? 'it is no zip'}`)
}

/** The folder that a PyTorch file has all of its entries in, with its slash. */
function folderOf(names: readonly string[], file: string): string {
  const suffix = '/data.pkl'
  const pickles = names.filter(name => name.endsWith(suffix))
  if (pickles.length !== 1) {
    throw invalid(file, `expected one data.pkl in it, received ${pickles.length}`)
  }
  const folder = pickles[0]!.slice(0, 1 - suffix.length)
  if (names.includes(`${folder}constants.pkl`)) {
    throw invalid(file, 'it is a TorchScript program; save its state_dict() with torch.save')
  }
  return folder
}

const stateDictKeys = ['model_state_dict', 'state_dict', 'model', 'module', 'ema_state_dict']
const maxNesting = 2

/** The dict itself comes last: a training checkpoint may keep its best loss as a tensor. */
function findStateDict(value: unknown, depth = 0): Map<unknown, unknown> | undefined {
  if (!(value instanceof Map) || depth > maxNesting) return undefined
  for (const key of stateDictKeys) {
    const found = findStateDict(value.get(key), depth + 1)
    if (found !== undefined) return found
  }
  for (const item of value.values()) {
    if (item instanceof TorchTensor) return value
  }
  return undefined
}

async function locate(
  stateDict: ReadonlyMap<unknown, unknown>,
  handle: FileHandle,
  file: string,
): Promise<StridedTensor[]> {
  const tensors: StridedTensor[] = []
  for (const [name, tensor] of stateDict) {
    if (!(tensor instanceof TorchTensor)) continue
    if (typeof name !== 'string' || !isName(name)) {
      throw invalid(file, `its state dict has a tensor named ${describe(name)}`)
    }
    const { dtype, shape, strides } = tensor
    const offset = (await dataOffset(handle, file, tensor.entry)) + tensor.offset
    tensors.push({ name, file, dtype, shape, strides, offset })
  }
  return tensors
}

/** A name that safetensors can hold as well. */
function isName(name: string): boolean {
  return name !== '' && name !== '__metadata__' && !name.includes('\0')
}
