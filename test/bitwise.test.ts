import t from 'tap'
import { type DType, OpenELM, type Session } from '../lib/index.js'
import { testConfigs, writeTestCheckpoint } from './helpers/checkpoints.js'

/**
 * On the CPU a token's scores are the same to the last bit however it is computed: with any number of
 * threads, alone, in a chunk of any size, or together with other sessions.
 */
const dtypes: DType[] = ['float32', 'float16', 'bfloat16', 'q8', 'q4']
const configs = [
  'head-64-lists',
  'head-80',
  'odder-widths',
  'no-qk-norm',
  'plain-ffn-untied',
] as const

// More than one native chunk of a long prompt, and more than one partition of attention.
const length = 280

function prompt(vocabSize: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i * i * 13 + i * seed + 1) % vocabSize)
}

/** The scores after the last token, of tokens appended in pieces of the sizes given, over and over. */
async function appendInPieces(session: Session, tokens: number[], sizes: number[]) {
  let logits: Float32Array | undefined
  for (let begin = 0, i = 0; begin < tokens.length; begin += sizes[i++ % sizes.length]!) {
    logits = await session.append(tokens.slice(begin, begin + sizes[i % sizes.length]!))
  }
  return logits!
}

/** Equal in every bit: -0 is not 0, and a NaN equals itself. */
function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer).equals(Buffer.from(b.buffer))
}

for (const name of configs) {
  for (const dtype of dtypes) {
    t.test(`${name}, ${dtype}`, async t => {
      const directory = t.testdir()
      const config = testConfigs[name]!
      writeTestCheckpoint(directory, config, { dtype: 'F32', seed: 3 })
      const tokens = prompt(config.vocab_size, 7)
      const others = [3, 4, 5].map(seed => prompt(config.vocab_size, seed))
      const options = { backend: 'cpu', dtype, contextLength: length } as const

      await using one = await OpenELM.load(directory, { ...options, threads: 1 })
      const expected = await one.logits(tokens)
      const last = expected.slice(-config.vocab_size)
      t.notOk(last.some(Number.isNaN))

      for (const threads of [2, 3]) {
        await using model = await OpenELM.load(directory, { ...options, threads })
        t.ok(sameBits(await model.logits(tokens), expected), `${threads} threads`)

        for (const sizes of [[1], [3, 5, 1], [64], [length]]) {
          using session = model.createSession()
          const logits = await appendInPieces(session, tokens, sizes)
          t.ok(sameBits(logits, last), `in pieces of ${sizes}, ${threads} threads`)
        }

        const sessions = [tokens, ...others].map(() => model.createSession())
        const all = await Promise.all(
          [tokens, ...others].map((ids, i) => appendInPieces(sessions[i]!, ids, [i + 1, 1, 7])),
        )
        for (const session of sessions) session.dispose()
        t.ok(sameBits(all[0]!, last), `among other sessions, ${threads} threads`)
      }
    })
  }
}

t.test('a rewound or forked session goes on as a new one would', async t => {
  const directory = t.testdir()
  const config = testConfigs['head-64-lists']!
  writeTestCheckpoint(directory, config, { dtype: 'BF16', seed: 3 })
  const [tokens, other] = [7, 9].map(seed => prompt(config.vocab_size, seed)) as [
    number[],
    number[],
  ]
  await using model = await OpenELM.load(directory, { backend: 'cpu', contextLength: length })

  using fresh = model.createSession()
  const expected = await fresh.append([...tokens.slice(0, 70), ...other.slice(0, 20)])

  using session = model.createSession()
  await session.append(tokens.slice(0, 70))
  using fork = session.fork()
  await session.append(tokens.slice(70))
  t.equal(fork.position, 70)
  t.ok(sameBits(await fork.append(other.slice(0, 20)), expected), 'forked')

  session.rewind(70)
  t.equal(session.position, 70)
  t.ok(sameBits(await session.append(other.slice(0, 20)), expected), 'rewound')
  t.throws(() => session.rewind(91), { code: 'INVALID_ARGUMENT', message: /position.*0 to 90/ })
})
