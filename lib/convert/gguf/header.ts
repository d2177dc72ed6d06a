/** A value of the metadata of a GGUF file, with the type that it is written in. */
export type MetadataValue =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | {
      readonly type: 'array'
      readonly of: 'u32' | 'i32' | 'f32'
      readonly value: readonly number[]
    }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }

export type Metadata = ReadonlyMap<string, MetadataValue>

/** Where a tensor begins in the data, and what is there. */
export interface TensorInfo {
  readonly name: string
  /** As GGUF has it: the fastest axis first. */
  readonly dimensions: readonly number[]
  readonly typeId: number
  readonly offset: number
}

/** Every tensor begins at a multiple of it, unless `general.alignment` says otherwise. */
const alignment = 32

/** Bytes between a tensor and the next. */
export function paddingOf(byteLength: number): number {
  return -byteLength & (alignment - 1)
}

const version = 3
const typeIds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 }

/** All of a GGUF file before its data, which then begins aligned. */
export function encodeGgufHeader(metadata: Metadata, tensors: readonly TensorInfo[]): Uint8Array {
  const bytes = new ByteWriter()
  bytes.raw(Buffer.from('GGUF'))
  bytes.u32(version)
  bytes.u64(tensors.length)
  bytes.u64(metadata.size)
  for (const [key, value] of metadata) {
    bytes.string(key)
    bytes.u32(typeIds[value.type])
    bytes.value(value)
  }
  for (const { name, dimensions, typeId, offset } of tensors) {
    bytes.string(name)
    bytes.u32(dimensions.length)
    for (const length of dimensions) bytes.u64(length)
    bytes.u32(typeId)
    bytes.u64(offset)
  }
  return bytes.padded(alignment)
}

class ByteWriter {
  #bytes = Buffer.alloc(2 ** 16)
  #length = 0

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#bytes.set(bytes, at)
  }

  u32(value: number): void {
    const at = this.#reserve(4)
    this.#bytes.writeUInt32LE(value, at)
  }

  u64(value: number): void {
    const at = this.#reserve(8)
    this.#bytes.writeBigUInt64LE(BigInt(value), at)
  }

  string(text: string): void {
    const bytes = Buffer.from(text)
    this.u64(bytes.length)
    this.raw(bytes)
  }

  value(given: MetadataValue): void {
    if (given.type === 'array') {
      this.u32(typeIds[given.of])
      this.u64(given.value.length)
      for (const value of given.value) this.value({ type: given.of, value } as MetadataValue)
    } else if (given.type === 'string') this.string(given.value)
    else if (given.type === 'bool') this.raw(Uint8Array.of(Number(given.value)))
    else if (given.type === 'f32') this.raw(new Uint8Array(Float32Array.of(given.value).buffer))
    else this.u32(given.value >>> 0)
  }

  padded(multiple: number): Uint8Array {
    this.#reserve(-this.#length & (multiple - 1))
    return this.#bytes.subarray(0, this.#length)
  }

  /** Makes room for so many zeros, and returns where they begin. */
  #reserve(count: number): number {
    const begin = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(2 * this.#length)
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    return begin
  }
}
