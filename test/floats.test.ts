import { Float16Array } from '@petamoriken/float16'
import t from 'tap'
import { decodeFloats, encodeFloats, float16ToNumber, numberToFloat16 } from '../lib/floats.js'
import {
  decodeFloats as decodeReference,
  encodeFloats as encodeReference,
} from './helpers/safetensors.js'

const halves = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits)

t.test('every float16 and bfloat16 becomes its number, and the number its bits again', async t => {
  const bytes = new Uint8Array(halves.buffer)
  for (const type of ['F16', 'BF16'] as const) {
    const values = decodeFloats(bytes, type)
    t.same(values, Float32Array.from(decodeReference(bytes, type)), type)
    const again = new Uint16Array(encodeFloats(values, type).buffer)
    const wrong = halves.filter((bits, i) => !Number.isNaN(values[i]) && again[i] !== bits)
    t.same(wrong, [], type)
  }
  t.ok(Number.isNaN(float16ToNumber(numberToFloat16(Number.NaN))))
})

t.test('rounding is to nearest, ties to even', async t => {
  const values: number[] = []
  const float16 = new Float16Array(halves.buffer)
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [below, above] = [float16[bits]!, float16[bits + 1]!]
    const middle = (below + above) / 2
    const step = 2 ** -24 * Math.max(middle, 2 ** -14)
    values.push(middle, middle - step, middle + step, -middle)
  }
  values.push(65519, 65520, 65536, 1e30, 2 ** -25, 2 ** -26, 0, -0, Infinity, 3.5e38)
  const expected = Float64Array.from(new Float32Array(values))
  for (const type of ['F32', 'F16', 'BF16'] as const) {
    const actual = encodeFloats(Float32Array.from(expected), type)
    t.ok(Buffer.from(actual).equals(encodeReference(expected, type)), type)
  }
})

t.test('bytes may have any alignment', async t => {
  const bytes = Uint8Array.of(9, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)
  t.same(decodeFloats(bytes.subarray(1), 'F32'), Float32Array.of(1, -2))
  const values = Float32Array.of(7, 1, 2).subarray(1)
  t.same(encodeFloats(values, 'BF16'), Uint8Array.of(0x80, 0x3f, 0, 0x40))
})
