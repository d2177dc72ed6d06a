/**
 * A second safetensors implementation, so that the package's own is never its own judge: eight bytes
 * of header length, a JSON header, and the tensors end to end. Trusts its input; test files only.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { Float16Array, getFloat16 } from '@petamoriken/float16'

export type FloatDType = 'F32' | 'F16' | 'BF16'

export interface RawTensor {
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>

export function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, RawTensor>,
  metadata: Record<string, string> = { format: 'pt' },
): void {
  let offset = 0
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] }
    offset += bytes.length
  }
  const json = Buffer.from(JSON.stringify(header))
  const padding = Buffer.alloc(-json.length & 7, ' ')
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length + padding.length))
  writeFileSync(
    file,
    Buffer.concat([length, json, padding, ...[...tensors.values()].map(({ bytes }) => bytes)]),
  )
}

export function readSafetensors(file: string): Map<string, RawTensor> {
  const contents = readFileSync(file)
  const dataStart = 8 + Number(contents.readBigUInt64LE())
  const { __metadata__, ...header } = JSON.parse(contents.toString('utf8', 8, dataStart)) as Header
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => [name, { dtype, shape, bytes: contents.subarray(dataStart + begin, dataStart + end) }],
    ),
  )
}

/** Rounds to the nearest value of the type, ties to even. */
export function encodeFloats(values: Float64Array, dtype: FloatDType): Uint8Array {
  if (dtype === 'F16') return new Uint8Array(new Float16Array(values).buffer)
  const singles = new Float32Array(values)
  if (dtype === 'F32') return new Uint8Array(singles.buffer)

  const bits = new Uint32Array(singles.buffer)
  const halves = new Uint16Array(bits.length)
  for (let i = 0; i < bits.length; i++) {
    const isOdd = (bits[i]! >>> 16) & 1
    halves[i] = (bits[i]! + 0x7fff + isOdd) >>> 16
  }
  return new Uint8Array(halves.buffer)
}

export function decodeFloats(bytes: Uint8Array, dtype: string): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const width = dtype === 'F32' ? 4 : 2
  const read = readers[dtype as FloatDType]
  const values = new Float64Array(bytes.length / width)
  for (let i = 0; i < values.length; i++) values[i] = read(view, i * width)
  return values
}

const scratch = new DataView(new ArrayBuffer(4))

const readers: Record<FloatDType, (view: DataView, offset: number) => number> = {
  F32: (view, offset) => view.getFloat32(offset, true),
  F16: (view, offset) => getFloat16(view, offset, true),
  BF16: (view, offset) => {
    scratch.setUint16(2, view.getUint16(offset, true), true)
    return scratch.getFloat32(0, true)
  },
}
