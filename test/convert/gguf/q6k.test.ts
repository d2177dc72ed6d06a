import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gguf as parseGguf } from '@huggingface/gguf'
import t from 'tap'
import { openCheckpoint } from '../../../lib/checkpoint.js'
import { decodeQ6K } from '../../../lib/convert/gguf/q6k.js'
import { checkpointToGguf, ggufToCheckpoint } from '../../../lib/convert/index.js'
import { float16ToNumber } from '../../../lib/floats.js'
import { testConfigs } from '../../helpers/configs.js'
import { decodeFloats, readSafetensors } from '../../helpers/safetensors.js'
import { writeTinyModel } from '../../helpers/tiny-model.js'

/** Blocks of arbitrary bytes, with finite scales of about 0.01. */
function arbitraryBlocks(count: number): Uint8Array {
  let state = 7
  const bytes = Uint8Array.from({ length: 210 * count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
  for (let block = 0; block < count; block++) bytes[210 * block + 209] = 0x20 | (block & 3)
  return bytes
}

/** ggml's dequantize_row_q6_K, line by line. */
function reference(bytes: Uint8Array): number[] {
  const y: number[] = []
  const int8 = (byte: number) => (byte > 127 ? byte - 256 : byte)
  for (let block = 0; block < bytes.length; block += 210) {
    let [ql, qh, sc] = [block, block + 128, block + 192]
    const d = float16ToNumber(bytes[block + 208]! + 256 * bytes[block + 209]!)
    for (let n = 0; n < 256; n += 128) {
      const at = y.length
      for (let l = 0; l < 32; l++) {
        const is = l >> 4
        const [low, low32, high] = [bytes[ql + l]!, bytes[ql + l + 32]!, bytes[qh + l]!]
        const q1 = ((low & 0xf) | (((high >> 0) & 3) << 4)) - 32
        const q2 = ((low32 & 0xf) | (((high >> 2) & 3) << 4)) - 32
        const q3 = ((low >> 4) | (((high >> 4) & 3) << 4)) - 32
        const q4 = ((low32 >> 4) | (((high >> 6) & 3) << 4)) - 32
        y[at + l] = d * int8(bytes[sc + is]!) * q1
        y[at + l + 32] = d * int8(bytes[sc + is + 2]!) * q2
        y[at + l + 64] = d * int8(bytes[sc + is + 4]!) * q3
        y[at + l + 96] = d * int8(bytes[sc + is + 6]!) * q4
      }
      ql += 64
      qh += 32
      sc += 8
    }
  }
  return y
}

t.test('Q6_K is decoded as ggml does', async t => {
  const bytes = arbitraryBlocks(50)
  const expected = reference(bytes)
  t.equal(expected.length, 50 * 256)
  t.same([...decodeQ6K(bytes)], expected)
  t.ok(
    expected.every(value => Math.fround(value) === value),
    'float32 holds every number',
  )
})

t.test('a Q4_0 file with a Q6_K embedding, as llama.cpp makes them, is read', async t => {
  const dir = t.testdir({ in: {} })
  const config = { ...testConfigs['head-64-lists'], vocab_size: 300 }
  const file = join(dir, 'model.gguf')
  await checkpointToGguf(writeTinyModel(join(dir, 'in'), config), file, { dtype: 'q4_0' })
  await ggufToCheckpoint(file, join(dir, 'before'))

  const content = readFileSync(file)
  const { tensorInfos, tensorDataOffset } = await parseGguf(file, { allowLocalFile: true })
  const { name, offset, shape } = tensorInfos.find(({ name }) => name === 'token_embd.weight')!
  const typeAt = content.indexOf(name) + name.length + 4 + 8 * shape.length
  t.equal(content.readUInt32LE(typeAt), 8, 'it is Q8_0, of which Q6_K needs the beginning')
  content.writeUInt32LE(14, typeAt)
  const blocks = arbitraryBlocks(300)
  content.set(blocks, Number(tensorDataOffset + offset))
  writeFileSync(file, content)

  const out = join(dir, 'out')
  await ggufToCheckpoint(file, out)
  t.equal((await openCheckpoint(out)).dtype, 'float32')
  const tensors = readSafetensors(join(out, 'model.safetensors'))
  const embedding = tensors.get('transformer.token_embeddings.weight')!
  t.same([...decodeFloats(embedding.bytes, 'F32')], reference(blocks))

  const { tensors: q4 } = await openCheckpoint(join(dir, 'before'))
  t.equal(q4.get('transformer.layers.0.ffn.proj_2.weight')!.dtype, 'U8', 'the others are 4 bits')
})
