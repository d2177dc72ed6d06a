/**
 * Zips and pickles as PyTorch writes them, made by hand: a second implementation, which can also make
 * those that no PyTorch would write.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'

export interface ZipPart {
  name: string
  /** Bytes, or the length of a hole, which takes no disk. */
  data: Buffer | number
  /** What the headers tell otherwise than the truth. */
  flags?: number
  method?: number
  length?: number
  offset?: number
  localName?: string
  /** Bytes between the local header and the data, as PyTorch aligns them. */
  padding?: number
}

/** Writes a zip with zip64 end records, as PyTorch does. Returns the length of the file. */
export function writeZip(file: string, parts: readonly ZipPart[], { zip64 = true } = {}): number {
  const fd = openSync(file, 'w')
  let position = 0
  const write = (bytes: Buffer) => {
    writeSync(fd, bytes, 0, bytes.length, position)
    position += bytes.length
  }
  const directory: Buffer[] = []
  for (const part of parts) {
    const length = typeof part.data === 'number' ? part.data : part.data.length
    const { flags = 0x0808, method = 0, offset = position, localName = part.name } = part
    directory.push(centralHeader(part.name, flags, method, part.length ?? length, offset))
    write(localHeader(localName, flags, method, part.padding ?? 0))
    if (typeof part.data === 'number') position += length
    else write(part.data)
  }
  const begin = position
  for (const header of directory) write(header)
  write(endRecords(directory.length, begin, position - begin, zip64))
  ftruncateSync(fd, position)
  closeSync(fd)
  return position
}

function localHeader(name: string, flags: number, method: number, padding: number): Buffer {
  const header = Buffer.alloc(30)
  header.writeUInt32LE(0x04034b50)
  header.writeUInt16LE(flags, 6)
  header.writeUInt16LE(method, 8)
  header.writeUInt16LE(Buffer.byteLength(name), 26)
  header.writeUInt16LE(padding, 28)
  return Buffer.concat([header, Buffer.from(name), Buffer.alloc(padding, 'Z')])
}

function centralHeader(
  name: string,
  flags: number,
  method: number,
  length: number,
  offset: number,
): Buffer {
  const header = Buffer.alloc(46)
  header.writeUInt32LE(0x02014b50)
  header.writeUInt16LE(flags, 8)
  header.writeUInt16LE(method, 10)
  const wide: bigint[] = []
  const field = (value: number, at: number) => {
    if (value >= 0xffffffff) wide.push(BigInt(value))
    header.writeUInt32LE(Math.min(value, 0xffffffff), at)
  }
  field(length, 24)
  field(length, 20)
  field(offset, 42)
  const extra = Buffer.alloc(wide.length === 0 ? 0 : 4 + 8 * wide.length)
  if (wide.length > 0) {
    extra.writeUInt16LE(1)
    extra.writeUInt16LE(8 * wide.length, 2)
    for (const [i, value] of wide.entries()) extra.writeBigUInt64LE(value, 4 + 8 * i)
  }
  header.writeUInt16LE(Buffer.byteLength(name), 28)
  header.writeUInt16LE(extra.length, 30)
  return Buffer.concat([header, Buffer.from(name), extra])
}

function endRecords(count: number, begin: number, size: number, zip64: boolean): Buffer {
  const end64 = Buffer.alloc(56 + 20)
  end64.writeUInt32LE(0x06064b50)
  end64.writeBigUInt64LE(44n, 4)
  end64.writeBigUInt64LE(BigInt(count), 24)
  end64.writeBigUInt64LE(BigInt(count), 32)
  end64.writeBigUInt64LE(BigInt(size), 40)
  end64.writeBigUInt64LE(BigInt(begin), 48)
  end64.writeUInt32LE(0x07064b50, 56)
  end64.writeBigUInt64LE(BigInt(begin + size), 56 + 8)
  end64.writeUInt32LE(1, 56 + 16)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50)
  end.writeUInt16LE(count, 8)
  end.writeUInt16LE(count, 10)
  end.writeUInt32LE(size, 12)
  end.writeUInt32LE(Math.min(begin, 0xffffffff), 16) // the others never reach their maximum
  return zip64 ? Buffer.concat([end64, end]) : end
}

/** Opcodes of a pickle of protocol 2: text is taken as it is, one character a byte. */
export function pickle(...parts: (string | Buffer)[]): Buffer {
  const bytes = parts.map(part => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))
  return Buffer.concat([Buffer.from([0x80, 2]), ...bytes])
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from('X'), uint32(bytes.length), bytes])
}

export function integer(value: number): Buffer {
  if (value < 2 ** 31) return Buffer.concat([Buffer.from('J'), uint32(value)])
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(value))
  return Buffer.concat([Buffer.from([0x8a, 8]), bytes])
}

export function tuple(...items: (string | Buffer)[]): Buffer {
  return Buffer.concat([...['(', ...items, 't'].map(item => Buffer.from(item as string, 'latin1'))])
}

/** What `torch.save` pickles for a tensor. */
export function tensor({
  key = '0',
  storage = 'FloatStorage',
  length = 6,
  offset = 0,
  shape = [2, 3],
  strides = [3, 1],
}: {
  key?: string
  storage?: string
  length?: number
  offset?: number
  shape?: number[]
  strides?: number[]
} = {}): Buffer {
  const id = tuple(text('storage'), `ctorch\n${storage}\n`, text(key), text('cpu'), integer(length))
  const view = [integer(offset), tuple(...shape.map(integer)), tuple(...strides.map(integer))]
  const hooks = 'ccollections\nOrderedDict\n)R'
  const args = tuple(Buffer.concat([id, Buffer.from('Q')]), ...view, '\x89', hooks)
  return Buffer.concat([Buffer.from('ctorch._utils\n_rebuild_tensor_v2\n'), args, Buffer.from('R')])
}

/** A dict of the given items. */
export function dict(items: Readonly<Record<string, string | Buffer>>): Buffer {
  const parts = Object.entries(items).flatMap(([name, value]) => [
    text(name),
    Buffer.from(value as string, 'latin1'),
  ])
  return Buffer.concat([Buffer.from('}('), ...parts, Buffer.from('u')])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value | 0)
  return bytes
}
