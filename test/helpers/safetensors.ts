/**
 * A second safetensors implementation, so that the package's own is never its own judge: eight bytes
 * of header length, a JSON header, and the tensors end to end. Trusts its input; test files only.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { Float16Array } from '@petamoriken/float16'

export type FloatDType = 'F32' | 'F16' | 'BF16'

export interface RawTensor {
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

type Header = Record<string, Omit<RawTensor, 'bytes'> & { data_offsets: [number, number] }>

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
  const tensors = new Map<string, RawTensor>()
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const [begin, end] = data_offsets
    const bytes = contents.subarray(dataStart + begin, dataStart + end)
    tensors.set(name, { dtype, shape, bytes })
  }
  return tensors
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
  const aligned = new Uint8Array(bytes).buffer
  if (dtype === 'F32') return new Float64Array(new Float32Array(aligned))
  const values = halfValues[dtype as 'F16' | 'BF16']
  const halves = new Uint16Array(aligned)
  const floats = new Float64Array(halves.length)
  for (let i = 0; i < halves.length; i++) floats[i] = values[halves[i]!]!
  return floats
}

// Looking a half up is a hundred times faster than asking the library for each.
const allHalves = new Uint16Array(2 ** 16).map((_, i) => i)
const halfValues = {
  F16: Float64Array.from(new Float16Array(allHalves.buffer)),
  BF16: new Float32Array(Uint32Array.from(allHalves, half => half << 16).buffer),
}
