import { byteLengthOf, elementBytes, type SafetensorsDType } from '../safetensors.js'
import { describeJson } from '../strict-json.js'
import { invalid } from './invalid.js'
import { PickleGlobal, type PickleNames } from './unpickle.js'
import type { ZipEntry } from './zip.js'

/** A tensor of a PyTorch file: a view of numbers that other tensors may share. */
export class TorchTensor {
  readonly dtype: SafetensorsDType
  readonly shape: readonly number[]
  /** How many elements lie from one to the next, along each axis. */
  readonly strides: readonly number[]
  /** Of the first element in the entry, in bytes. */
  readonly offset: number
  readonly entry: ZipEntry

  constructor(
    storage: Storage,
    shape: readonly number[],
    strides: readonly number[],
    offset: number,
  ) {
    this.dtype = storage.dtype
    this.shape = shape
    this.strides = strides
    this.offset = offset
    this.entry = storage.entry
  }
}

/** The numbers of one entry of the zip. */
class Storage {
  readonly dtype: SafetensorsDType
  readonly entry: ZipEntry
  readonly length: number

  constructor(dtype: SafetensorsDType, entry: ZipEntry, length: number) {
    this.dtype = dtype
    this.entry = entry
    this.length = length
  }
}

const storageTypes = new Map<string, SafetensorsDType>([
  ['torch.FloatStorage', 'F32'],
  ['torch.HalfStorage', 'F16'],
  ['torch.BFloat16Storage', 'BF16'],
  ['torch.DoubleStorage', 'F64'],
  ['torch.LongStorage', 'I64'],
  ['torch.IntStorage', 'I32'],
  ['torch.ShortStorage', 'I16'],
  ['torch.CharStorage', 'I8'],
  ['torch.ByteStorage', 'U8'],
  ['torch.BoolStorage', 'BOOL'],
])
const maxRank = 8

/**
 * What `torch.save` names in the pickle of tensors and of what a training keeps beside them.
 *
 * @param entryOf finds the numbers of a storage by its key.
 */
export function torchNames(
  file: string,
  entryOf: (key: string) => ZipEntry | undefined,
): PickleNames {
  const calls: Record<string, (args: readonly unknown[]) => unknown> = {
    'collections.OrderedDict': args => {
      if (args.length === 0) return new Map()
      throw invalid(file, 'its pickle makes an OrderedDict of what is none')
    },
    'torch.Size': ([lengths]) => lengths,
    'torch._utils._rebuild_parameter': ([tensor]) => tensor,
    'torch._utils._rebuild_tensor_v2': args => rebuildTensor(args, file),
  }
  return {
    knows: name => Object.hasOwn(calls, name) || storageTypes.has(name),
    call: (name, args) => {
      if (Object.hasOwn(calls, name)) return calls[name]!(args)
      throw invalid(file, `its pickle calls ${name}`)
    },
    load: id => loadStorage(id, file, entryOf),
  }
}

/** ('storage', the class, the key of its numbers, the device it was on, how many numbers). */
function loadStorage(
  id: unknown,
  file: string,
  entryOf: (key: string) => ZipEntry | undefined,
): Storage {
  const [kind, type, key, , length] = Array.isArray(id) ? id : []
  const dtype = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined
  if (kind !== 'storage' || dtype === undefined || typeof key !== 'string' || !isNatural(length)) {
    throw invalid(file, 'its pickle names numbers in a way that torch.save does not')
  }
  const entry = entryOf(key)
  if (entry === undefined) throw invalid(file, `there is no storage ${describeJson(key)}`)
  const expected = byteLengthOf({ dtype, shape: [length] })
  if (entry.byteLength !== expected) {
    const held = `its entry ${describeJson(entry.name)} holds ${entry.byteLength} bytes`
    throw invalid(file, `${held}, but ${length} numbers of type ${dtype} take ${expected}`)
  }
  return new Storage(dtype, entry, length)
}

/** Arguments: storage, offset, shape, strides, and what matters for gradients only. */
function rebuildTensor([storage, offset, shape, strides]: readonly unknown[], file: string) {
  if (
    !(storage instanceof Storage) ||
    !isNatural(offset) ||
    !isNaturals(shape) ||
    !isNaturals(strides) ||
    shape.length !== strides.length ||
    shape.length > maxRank
  ) {
    throw invalid(file, `it has a tensor that is none, or has more than ${maxRank} axes`)
  }
  const count = shape.reduce((product, length) => product * length, 1)
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, offset)
  // A view may repeat numbers of its storage. No weight does, and a small file would stand for a huge one.
  if (count > 0 && (last >= storage.length || count > storage.length)) {
    const tensor = `a tensor [${shape}] with the strides [${strides}] from ${offset} on`
    throw invalid(file, `it has ${tensor} in a storage of ${storage.length} numbers`)
  }
  // Copies: the pickle may go on to change its lists.
  const byteOffset = offset * elementBytes[storage.dtype]
  return new TorchTensor(storage, [...shape], [...strides], byteOffset)
}

function isNatural(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isNatural)
}
