import t from 'tap'
import { inBlocks } from '../lib/in-blocks.js'

const blockBytes = 16 * 2 ** 20

t.test('bytes come in the same order, in whole blocks but for the last', async t => {
  const cases: [lengths: number[], blocks: number[]][] = [
    [[], []],
    [[0, 5, 0], [5]],
    [
      [3, blockBytes],
      [blockBytes, 3],
    ],
    [[blockBytes], [blockBytes]],
    [
      [blockBytes - 1, 2, 2 * blockBytes],
      [blockBytes, blockBytes, blockBytes, 1],
    ],
  ]
  for (const [lengths, expected] of cases) {
    const chunks = lengths.map((length, i) => Buffer.alloc(length, `chunk ${i}, `))
    const blocks: Buffer[] = []
    const source = async function* () {
      yield* chunks
    }
    for await (const block of inBlocks(source())) blocks.push(Buffer.from(block))
    t.same(
      blocks.map(block => block.length),
      expected,
    )
    t.ok(Buffer.concat(blocks).equals(Buffer.concat(chunks)), `${lengths}`)
  }
})
