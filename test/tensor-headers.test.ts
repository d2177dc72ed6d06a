import t from 'tap'
import { presets } from '../lib/config.js'
import { type DType, tensorHeaders } from '../lib/tensor-headers.js'
import { embeddings, outProj, proj2, tiny, totalOf, untied } from './helpers/tiny-checkpoint.js'

t.test('tensorHeaders: floats are stored in one type, norms first', async t => {
  const headers = tensorHeaders(tiny, 'bfloat16')
  t.equal(headers.length, 8 * 2 + 2)
  t.ok(headers.every(({ dtype }) => dtype === 'BF16'))
  t.same(
    headers.map(({ shape }) => shape.length),
    [...new Array(4 * 2 + 1).fill(1), ...new Array(4 * 2 + 1).fill(2)],
  )
  for (const [name, parameters] of [
    ['270M', 271_527_168],
    ['3B', 3_036_647_424],
  ] as const) {
    t.equal(totalOf(tensorHeaders(presets[name], 'float16')), 2 * parameters)
    t.equal(totalOf(tensorHeaders(presets[name], 'float32')), 4 * parameters)
  }
})

t.test(
  'tensorHeaders: quantised matrices come in groups of 32 with scales behind them',
  async t => {
    const find = (dtype: DType, name: string) =>
      tensorHeaders(untied, dtype)
        .filter(header => header.name.startsWith(name))
        .map(({ dtype, shape }) => [dtype, ...shape])

    const q8 = [
      ['I8', 40, 2, 32],
      ['F16', 40, 2],
    ]
    const vocabulary = [
      ['I8', 9, 2, 32],
      ['F16', 9, 2],
    ]
    t.same(find('q8', outProj), q8)
    t.same(find('q4', outProj), q8, 'groups do not fill its rows')
    t.same(find('q8', proj2), q8)
    t.same(find('q4', proj2), [
      ['U8', 40, 2, 16],
      ['F16', 40, 2],
    ])
    for (const dtype of ['q8', 'q4'] as const) {
      t.same(find(dtype, embeddings), vocabulary)
      t.same(find(dtype, 'lm_head.weight'), vocabulary)
      t.same(find(dtype, 'transformer.norm.weight'), [['F32', 40]])
    }
    t.equal(outProj, tensorHeaders(tiny, 'q4').find(({ name }) => name === outProj)?.name)
    const matrices = 271_527_168 - 44_288
    t.equal(totalOf(tensorHeaders(presets['270M'], 'q8')), matrices * (34 / 32) + 4 * 44_288)
    const vocabularySize = 32_000 * 1280
    t.equal(
      totalOf(tensorHeaders(presets['270M'], 'q4')),
      matrices * (18 / 32) + vocabularySize * (16 / 32) + 4 * 44_288,
    )
  },
)
