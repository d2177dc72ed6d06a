import t from 'tap'
import {
  decodeBlocks,
  encodeBlocks,
  joinBlocks,
  splitBlocks,
  widenBlocks,
} from '../../../lib/convert/gguf/blocks.js'
import { decodeFloats } from '../../helpers/safetensors.js'

/** A block and its bytes, worked out by hand after ggml's quantize_row_*_ref. */
const ramp = Float32Array.from({ length: 32 }, (_, i) => i - 15)

t.test('Q8_0: the largest magnitude becomes 127, halves go away from zero', async t => {
  const bytes = encodeBlocks(ramp, 'Q8_0')
  t.equal(bytes.length, 34)
  const scale = decodeFloats(bytes.subarray(0, 2), 'F16')[0]!
  t.ok(Math.abs(scale / (16 / 127) - 1) < 2 ** -11)
  const values = [...new Int8Array(bytes.buffer, 2, 32)]
  t.same(
    values,
    [...ramp].map(x => Math.sign(x) * Math.round(Math.abs((x * 127) / 16))),
  )
  const ties = new Float32Array(32)
  ties.set([127, 0.5, -0.5, 1.5, -2.5])
  t.same([...new Int8Array(encodeBlocks(ties, 'Q8_0').buffer, 2, 5)], [127, 1, -1, 2, -3])
})

t.test(
  'Q4_0: the number of largest magnitude becomes -8, so its sign is that of the scale',
  async t => {
    for (const sign of [1, -1]) {
      const values = ramp.map(x => sign * x)
      const bytes = encodeBlocks(values, 'Q4_0')
      t.equal(bytes.length, 18)
      t.equal(decodeFloats(bytes.subarray(0, 2), 'F16')[0], (sign * 16) / -8)
      const nibbles = Array.from({ length: 32 }, (_, i) =>
        i < 16 ? bytes[2 + i]! & 15 : bytes[2 + i - 16]! >> 4,
      )
      const code = (x: number) => Math.min(15, Math.floor(x / -2 + 8.5))
      t.same(nibbles, [...ramp].map(code))
    }
  },
)

t.test('a block of zeros stays one', async t => {
  for (const type of ['Q8_0', 'Q4_0'] as const) {
    t.ok(decodeBlocks(encodeBlocks(new Float32Array(64), type), type).every(x => x === 0))
  }
})

t.test('decoding is close to what was encoded, and exact for what was decoded', async t => {
  const values = Float32Array.from({ length: 320 }, (_, i) => Math.sin(i * i) * 0.1)
  for (const [type, bound] of [
    ['Q8_0', 0.1 / 127],
    ['Q4_0', 0.1 / 7],
  ] as const) {
    const bytes = encodeBlocks(values, type)
    const decoded = decodeBlocks(bytes, type)
    const errors = decoded.map((x, i) => Math.abs(x - values[i]!))
    t.ok(Math.max(...errors) <= bound, `${Math.max(...errors)}`)
    const split = splitBlocks(bytes, type)
    t.equal(split.scales.length, 20)
    t.same(joinBlocks(split.values, split.scales, type), bytes)
  }
  const narrow = encodeBlocks(values, 'Q4_0')
  t.same(decodeBlocks(widenBlocks(narrow), 'Q8_0'), decodeBlocks(narrow, 'Q4_0'))
})
