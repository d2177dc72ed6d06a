import t from 'tap'
import { OpenELM, Sampler as PublicSampler } from '../lib/index.js'
import { loadNative } from '../lib/native.js'
import type { NativeSampler, NativeSamplerOptions } from '../lib/native-session.js'
import { readSamplerOptions, type SamplerOptions } from '../lib/sampler-options.js'
import { testBackend } from './helpers/backend.js'
import {
  chiSquaredSurvival,
  logSoftmax,
  pearsonPValue,
  referenceDistribution,
} from './helpers/sampler-reference.js'
import { writeTinyModel } from './helpers/tiny-model.js'

const { Sampler } = loadNative()
const draws = 200_000
const invalid = { name: 'OpenELMError', code: 'INVALID_ARGUMENT' }

const complete = (options: SamplerOptions) => readSamplerOptions({ seed: 1, ...options }, 2 ** 20)
const create = (vocabSize: number, options: SamplerOptions = {}): NativeSampler =>
  new Sampler(vocabSize, complete(options))

/** Scores in a random-looking order, exact in float32: a few high, most low. */
function makeLogits(vocabSize: number): Float32Array {
  return Float32Array.from({ length: vocabSize }, (_, id) => {
    const rank = ((id * 7919 + 13) % 65_521) % 256
    return 6 - (rank * rank) / 4096 - rank / 32
  })
}

/** The tokens of so many draws from the same scores. */
const drawMany = (sampler: NativeSampler, logits: Float32Array, count: number): Int32Array =>
  Int32Array.from({ length: count }, () => sampler.sample(logits).token)

/** Makes a sampler draw a token, and accepts it. */
function generate(sampler: NativeSampler, vocabSize: number, token: number): void {
  const logits = new Float32Array(vocabSize).fill(-Infinity)
  logits[token] = 0
  if (sampler.sample(logits).token !== token) throw new Error('it drew another token')
  sampler.accept(Int32Array.of(token))
}

/** The token taken at temperature 0. */
function greedy(logits: number[], options: SamplerOptions = {}, accepted: number[] = []): number {
  const sampler = create(logits.length, options)
  sampler.accept(Int32Array.from(accepted))
  return sampler.sample(Float32Array.from(logits)).token
}

t.test('the chi-squared survival function agrees with tables', async t => {
  for (const [x, degrees, expected] of [
    [3.841, 1, 0.05],
    [5.991, 2, 0.05],
    [18.307, 10, 0.05],
    [29.588, 10, 0.001],
    [124.342, 100, 0.05],
    [149.449, 100, 0.001],
  ] as const) {
    t.ok(Math.abs(chiSquaredSurvival(x, degrees) - expected) < 1e-4, `${x}, ${degrees}`)
  }
})

t.test('draws have the frequencies of the exact distribution', async t => {
  const accepted = [3, 5, 7, 5, 3, 40, 41]
  const generated = [5, 5, 7, 5, 12]
  const cases: [vocabSize: number, options: SamplerOptions][] = [
    [50, { temperature: 1 }],
    [50, { temperature: 0.5 }],
    [50, { temperature: 3 }],
    [50, { temperature: 1, topK: 1 }],
    [50, { temperature: 1, topK: 7 }],
    [50, { temperature: 1, topP: 0.8 }],
    [50, { temperature: 1, minP: 0.1 }],
    [50, { temperature: 1, repetitionPenalty: 1.3 }],
    [50, { temperature: 1, repetitionPenalty: 0.7 }],
    [50, { temperature: 1, repetitionPenalty: 1.3, repetitionContextSize: 3 }],
    [50, { temperature: 1, presencePenalty: 1.5 }],
    [50, { temperature: 1, frequencyPenalty: 0.7 }],
    [50, { temperature: 1, presencePenalty: -0.5, frequencyPenalty: -0.3 }],
    [50, { temperature: 1, logitBias: { 3: 4, 5: -2.5, 49: 6 } }],
    [50, { temperature: 1, logitBias: new Map([[7, -100]]), repetitionPenalty: 1.3 }],
    [
      50,
      {
        temperature: 1.5,
        logitBias: { 3: -3, 5: 2 },
        repetitionPenalty: 1.2,
        presencePenalty: 0.8,
        frequencyPenalty: 0.4,
        topP: 0.9,
      },
    ],
    [50, { temperature: 2, topK: 12, topP: 0.9 }],
    [50, { temperature: 2, topK: 12, minP: 0.2 }],
    [50, { temperature: 2, topP: 0.95, minP: 0.1 }],
    [50, { temperature: 0.8, topK: 20, topP: 0.95, minP: 0.02, repetitionPenalty: 1.1 }],
    [3000, { temperature: 1 }],
    [3000, { temperature: 1, topK: 100 }],
    [3000, { temperature: 1, topP: 0.9 }],
    [12_000, { temperature: 0.7, minP: 0.05, repetitionPenalty: 1.2 }],
    [12_000, { temperature: 1, topK: 500, topP: 0.9, minP: 0.01 }],
  ]
  for (const [vocabSize, options] of cases) {
    const name = `${vocabSize} tokens, ${JSON.stringify(options)}`
    const logits = makeLogits(vocabSize)
    const sampler = create(vocabSize, options)
    sampler.accept(Int32Array.from(accepted))
    for (const token of generated) generate(sampler, vocabSize, token)
    const counts = new Array<number>(vocabSize).fill(0)
    const count = vocabSize > 1000 ? draws / 20 : draws
    for (const token of drawMany(sampler, logits, count)) counts[token]! += 1

    const expected = referenceDistribution(logits, complete(options), accepted, generated)
    const excluded = counts.filter((count, id) => count > 0 && expected[id] === 0)
    t.equal(excluded.length, 0, `draws nothing that is filtered: ${name}`)
    const p = pearsonPValue(counts, expected)
    t.ok(p > 0.001, `p = ${p.toFixed(4)}: ${name}`)
  }
})

t.test('filters leave exactly the right tokens of a large vocabulary', async t => {
  // So hot that each token left comes up often.
  const temperature = 1e4
  const logits = makeLogits(1000)
  const cases: SamplerOptions[] = [
    { topK: 1 },
    { topK: 50 },
    { topK: 800 },
    { topP: 0.02 },
    { topP: 0.6 },
    { minP: 0.9999 },
    { topK: 70, topP: 0.5 },
  ]
  for (const options of cases) {
    const drawn = new Set(drawMany(create(1000, { temperature, ...options }), logits, draws / 10))
    const expected = referenceDistribution(logits, complete({ temperature, ...options }))
    const kept = expected.flatMap((probability, id) => (probability > 0 ? [id] : []))
    t.same(
      [...drawn].sort((a, b) => a - b),
      kept,
      `${kept.length} tokens by ${JSON.stringify(options)}`,
    )
  }
})

t.test('a seed gives these tokens on every platform', async t => {
  const logits = makeLogits(1000)
  const sequences: [options: SamplerOptions, tokens: number[]][] = [
    [
      { temperature: 0, repetitionPenalty: 1.3 },
      [169, 455, 540, 826, 911, 68, 354, 439, 725, 253, 624, 910],
    ],
    [{ temperature: 1 }, [68, 403, 690, 941, 995, 791, 725, 876, 775, 573, 691, 302]],
    [{ temperature: 0.8, topP: 0.9 }, [67, 404, 691, 942, 995, 792, 725, 892, 792, 573, 691, 303]],
    [{ temperature: 1.5, minP: 0.02 }, [68, 387, 687, 939, 994, 787, 724, 874, 774, 573, 689, 286]],
    [
      { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05, repetitionPenalty: 1.1 },
      [68, 422, 725, 961, 995, 792, 691, 876, 708, 489, 590, 253],
    ],
  ]
  for (const [options, expected] of sequences) {
    const sampler = create(1000, { seed: 42, ...options })
    const tokens: number[] = []
    for (let i = 0; i < expected.length; i++) {
      const { token } = sampler.sample(logits)
      tokens.push(token)
      sampler.accept(Int32Array.of(token))
    }
    t.same(tokens, expected, JSON.stringify(options))
  }
})

t.test('the generator is xoshiro256** after splitmix64, as published', async t => {
  // Among 256 equal tokens a draw takes the top byte.
  const published = [0x99ec5f36cb75f2b4n, 0xbf6e1f784956452an, 0x1a5f849d4933e6e0n]
  const bytes = drawMany(create(256, { temperature: 1, seed: 0 }), new Float32Array(256), 3)
  t.same(
    [...bytes],
    published.map(word => Number(word >> 56n)),
  )
})

t.test('draws repeat with the seed and differ without it', async t => {
  const logits = makeLogits(1000)
  const tokens = (options: SamplerOptions, count = 50) =>
    drawMany(create(1000, { temperature: 1, ...options }), logits, count)
  t.same(tokens({ seed: 7 }), tokens({ seed: 7n }))
  t.not(`${tokens({ seed: 7 })}`, `${tokens({ seed: 8 })}`)
  t.not(`${tokens({ seed: 0 })}`, `${tokens({ seed: 2n ** 63n })}`)

  t.same(
    tokens({ seed: 7, logprobs: 5 }),
    tokens({ seed: 7 }),
    'reporting log-probabilities changes no draw',
  )
})

t.test('temperature 0 takes the likeliest token, the lowest id of equals', async t => {
  t.equal(greedy([1, 3, 2, 3]), 1)
  t.equal(greedy([-0, 0, -1]), 0)
  t.equal(greedy([-5, -4, -4]), 1)
  t.equal(greedy(new Array(100).fill(2)), 0)
  for (let best = 0; best < 70; best++) {
    t.equal(greedy(Array.from({ length: 70 }, (_, id) => (id === best ? 1 : 0))), best)
  }
})

t.test('equally likely tokens rank by id', async t => {
  const support = (options: SamplerOptions) => {
    const sampler = create(100, { temperature: 1, ...options })
    const tokens = drawMany(sampler, new Float32Array(100), 20_000)
    return [...new Set(tokens)].sort((a, b) => a - b)
  }
  t.same(support({ topK: 3 }), [0, 1, 2])
  t.same(support({ topK: 60 }), [...Array(60).keys()])
  t.same(support({ topP: 0.5 }), [...Array(50).keys()])
  t.same(support({ topP: 0.505 }), [...Array(51).keys()])
  t.equal(support({ minP: 0.999 }).length, 100)
})

t.test('the penalty sees the last tokens, each of them once', async t => {
  const options = { repetitionPenalty: 2, repetitionContextSize: 3 }
  t.equal(greedy([4, 3, 1], options), 0)
  t.equal(greedy([4, 3, 1], options, [0]), 1, 'a positive score is divided')
  t.equal(greedy([-2, -3, -5], options, [0]), 1, 'a negative score is multiplied')
  t.equal(greedy([4, 1.5, 1], options, [0, 0, 0]), 0, 'once, however often it stands there')
  t.equal(greedy([4, 3, 1], options, [0, 2, 2]), 1, 'the third last token is seen')
  t.equal(greedy([4, 3, 1], options, [2, 0, 2, 2]), 1, 'wherever that stands')
  t.equal(greedy([4, 3, 1], options, [0, 2, 2, 2]), 0, 'the fourth last token is not')
  t.equal(greedy([4, 3, 1], { ...options, repetitionContextSize: 0 }, [0]), 0)
  t.equal(greedy([4, 3, 1], { repetitionPenalty: 0.25 }, [2]), 0, 'equals after the reward')

  const sampler = create(4, options)
  const logits = Float32Array.of(8, 7, 6, 5)
  const tokens = Array.from({ length: 8 }, () => {
    const { token } = sampler.sample(logits)
    sampler.accept(Int32Array.of(token))
    return token
  })
  t.same(tokens, [0, 1, 2, 3, 0, 1, 2, 3], 'the window moves on')
})

t.test('presence and frequency penalties see what was generated', async t => {
  const presence = create(4, { presencePenalty: 1 })
  const logits = Float32Array.of(4, 3.5, 2.6, 0)
  const take = (sampler: NativeSampler) => {
    const { token } = sampler.sample(logits)
    sampler.accept(Int32Array.of(token))
    return token
  }
  presence.accept(Int32Array.of(0, 1, 2, 0, 0))
  t.same(
    Array.from({ length: 5 }, () => take(presence)),
    [0, 1, 0, 0, 0],
    'once each, and not for a prompt',
  )
  const frequency = create(4, { frequencyPenalty: 1 })
  t.same(
    Array.from({ length: 7 }, () => take(frequency)),
    [0, 1, 0, 2, 1, 0, 2],
    'for each time',
  )

  const other = create(4, { frequencyPenalty: 2 })
  t.equal(other.sample(logits).token, 0)
  other.accept(Int32Array.of(3))
  t.equal(other.sample(logits).token, 0, 'a token that was drawn and not accepted does not count')
  other.accept(Int32Array.of(0, 1))
  t.equal(other.sample(logits).token, 1, 'nor one that was accepted and not drawn')
})

t.test('a logit bias is added before all else', async t => {
  t.equal(greedy([1, 2, 3], { logitBias: { 0: 2.5 } }), 0)
  t.equal(greedy([1, 2, 3], { logitBias: new Map([[2, -100]]) }), 1)
  t.equal(greedy([1, 2, 3], { logitBias: { 0: 100 }, repetitionPenalty: 2 }, [0]), 0)
  t.equal(greedy([1, 2, 3], { logitBias: { 0: 2.5 }, repetitionPenalty: 2 }, [0, 0]), 2)
  t.equal(greedy([Number.NaN, 2, 1], { logitBias: { 0: 100 } }), 1, 'what is not finite stays out')
  const bad: [bias: unknown, message: RegExp][] = [
    [5, /options\.logitBias to be an object/],
    [{ 100: 1 }, /a key of options\.logitBias to be an integer from 0 to 99, received 100/],
    [{ x: 1 }, /a key of options\.logitBias/],
    [{ '01': 1 }, /a key of options\.logitBias/],
    [{ 3: 101 }, /options\.logitBias\[3\] to be a number from -100 and at most 100/],
    [new Map([[3, Number.NaN]]), /options\.logitBias\[3\]/],
    [new Map([['3.5', 1]]), /a key of/],
  ]
  for (const [logitBias, message] of bad) {
    const options = { logitBias } as SamplerOptions
    t.throws(() => readSamplerOptions(options, 100), { ...invalid, message })
  }
})

t.test('the Sampler that users have', async t => {
  const logits = makeLogits(1000)
  const options = { temperature: 1, seed: 42, repetitionPenalty: 1.3, logprobs: 2 }
  const [sampler, native] = [new PublicSampler(1000, options), create(1000, options)]
  sampler.accept([5, 6])
  native.accept(Int32Array.of(5, 6))
  for (let i = 0; i < 20; i++) {
    const { token, logprob, topLogprobs } = sampler.sample(logits)
    const expected = native.sample(logits)
    t.same([token, logprob], [expected.token, expected.logprob])
    t.same(topLogprobs?.[1], {
      token: expected.topTokens![1],
      logprob: expected.topLogprobs![1],
    })
    sampler.accept([token])
    native.accept(Int32Array.of(token))
  }
  t.same(Object.keys(new PublicSampler(1000).sample(logits)), ['token'])
  const calls: (() => unknown)[] = [
    () => new PublicSampler(0),
    () => new PublicSampler(10, { topP: 2 }),
    () => new PublicSampler(10, { logitBias: { 10: 1 } }),
    () => new PublicSampler(10, { maxTokens: 3 } as SamplerOptions),
    () => sampler.accept([1000]),
    () => sampler.accept(5 as never),
    () => sampler.sample(new Float32Array(999)),
    () => sampler.sample([1, 2] as never),
  ]
  for (const call of calls) t.throws(call, invalid)
})

t.test('a score that is not finite is never chosen', async t => {
  const logits = [NaN, -Infinity, 1, Infinity, -1e38, NaN]
  t.equal(greedy(logits), 2)
  t.equal(greedy(logits, { repetitionPenalty: 2 }, [0, 1, 2, 3]), 2)
  for (const options of [{}, { topK: 3 }, { topP: 0.9 }, { minP: 0.1 }, { topK: 6 }]) {
    const sampler = create(6, { temperature: 1, ...options })
    t.same(new Set(drawMany(sampler, Float32Array.from(logits), 1000)), new Set([2]))
  }
  for (const options of [{}, { temperature: 1 }, { logprobs: 2 }, { repetitionPenalty: 2 }]) {
    const sampler = create(3, options)
    sampler.accept(Int32Array.of(0, 1, 2))
    const hopeless = Float32Array.of(NaN, -Infinity, Infinity)
    t.throws(() => sampler.sample(hopeless), { code: 'NON_FINITE_LOGITS' })
    t.ok(sampler.sample(Float32Array.of(0, 1, 2)), 'and the sampler stays usable')
  }
})

t.test('extreme options and scores are safe', async t => {
  const logits = makeLogits(50)
  const best = create(50).sample(logits).token
  const only = (options: SamplerOptions) =>
    t.same(new Set(drawMany(create(50, options), logits, 1000)), new Set([best]))
  only({ temperature: 1, topP: 1e-300 })
  only({ temperature: 1, topP: Number.MIN_VALUE })
  only({ temperature: 1e-3 })
  only({ temperature: Number.MIN_VALUE })
  only({ temperature: 1, minP: 1 - Number.EPSILON })

  t.equal(greedy([-1, -2], { repetitionPenalty: 1e300 }, [0, 1]), 0, 'both are the lowest float')
  const rewarded = create(3, { temperature: 1, repetitionPenalty: 1e-300 })
  rewarded.accept(Int32Array.of(1))
  t.same(new Set(drawMany(rewarded, Float32Array.of(5, 1, 2), 99)), new Set([1]))

  const one = { temperature: 1, topK: 9, topP: 0.5, minP: 0.5, repetitionPenalty: 2, logprobs: 20 }
  const sample = create(1, one).sample(Float32Array.of(-3))
  t.match(sample, { token: 0, logprob: 0, topTokens: [0], topLogprobs: [0] })

  const all = drawMany(create(50, { temperature: 1 }), logits, 100)
  for (const topK of [50, 51, Number.MAX_SAFE_INTEGER]) {
    t.same(drawMany(create(50, { temperature: 1, topK }), logits, 100), all)
  }
  const spread = Float32Array.of(3.4e38, -3.4e38)
  t.same(new Set(drawMany(create(2, { temperature: 1e308 }), spread, 99)), new Set([0, 1]))
  t.same(new Set(drawMany(create(2, { temperature: 1e-308 }), spread, 99)), new Set([0]))
})

t.test("log-probabilities are the model's own", async t => {
  const logits = makeLogits(300)
  const expected = logSoftmax(logits)
  const ranked = [...expected.keys()].sort((a, b) => expected[b]! - expected[a]! || a - b)
  const options = { temperature: 2, topK: 30, repetitionPenalty: 3, logprobs: 20 }
  const sampler = create(300, options)
  sampler.accept(Int32Array.from(ranked.slice(0, 10)))
  for (let i = 0; i < 20; i++) {
    const { token, logprob, topTokens, topLogprobs } = sampler.sample(logits)
    t.equal(logprob, Math.fround(expected[token]!))
    t.same([...topTokens!], ranked.slice(0, 20))
    t.same(
      [...topLogprobs!],
      ranked.slice(0, 20).map(id => Math.fround(expected[id]!)),
    )
  }

  const native: NativeSamplerOptions = { ...complete({}), logprobs: 1000 }
  const { topTokens, topLogprobs } = new Sampler(300, native).sample(logits)
  t.same([...topTokens!], ranked)
  const total = topLogprobs!.reduce((sum, logprob) => sum + Math.exp(logprob), 0)
  t.ok(Math.abs(total - 1) < 1e-6, 'all of them sum to 1')

  t.same(Object.keys(create(300).sample(logits)), ['token'])
})

t.test('native code refuses what would break its memory', async t => {
  const sampler = create(4)
  const cases: (() => unknown)[] = [
    () => sampler.sample(new Float32Array(3)),
    () => sampler.sample(new Float32Array(5)),
    () => sampler.accept(Int32Array.of(0, 4)),
    () => sampler.accept(Int32Array.of(-1)),
    () => new Sampler(0, complete({})),
    () => new Sampler(-1, complete({})),
  ]
  for (const call of cases) t.throws(call, invalid)
  const bad: Partial<NativeSamplerOptions>[] = [
    { temperature: NaN },
    { topK: -1 },
    { topP: 0 },
    { minP: 1 },
    { repetitionPenalty: 0 },
    { repetitionContextSize: -1 },
    { logprobs: -1 },
    { presencePenalty: NaN },
    { frequencyPenalty: Infinity },
    { biasedTokens: Int32Array.of(4), biases: Float32Array.of(1) },
    { biasedTokens: Int32Array.of(-1), biases: Float32Array.of(1) },
    { biasedTokens: Int32Array.of(1), biases: Float32Array.of(NaN) },
  ]
  for (const options of bad) {
    t.throws(() => new Sampler(4, { ...complete({}), ...options }), invalid)
  }
  for (const logits of [undefined, [0, 0, 0, 0], new Float64Array(4), new Int32Array(4)]) {
    t.throws(() => sampler.sample(logits as unknown as Float32Array), invalid)
  }
  t.throws(() => Sampler.prototype.sample.call({}, new Float32Array(4)))
})

t.test('a sampler is for one session at a time, and nothing else meanwhile', async t => {
  await using model = await OpenELM.load(writeTinyModel(t.testdir()), { backend: testBackend })
  const { vocabSize } = model.config
  const [session, other] = [model.createSession().native, model.createSession().native]
  const sampler = create(vocabSize)
  const busy = { code: 'BUSY' }
  const tokens = Int32Array.of(5)
  const refuses = async () => {
    t.throws(() => sampler.accept(tokens), busy)
    t.throws(() => sampler.sample(new Float32Array(vocabSize)), busy)
    await t.rejects(async () => other.sample(tokens, sampler, false), busy)
  }
  const call = session.sample(tokens, sampler, true)
  await refuses()
  await call
  await refuses()
  await session.whenIdle()
  sampler.accept(tokens)
  t.equal((await other.sample(tokens, sampler, false)).token, (await call).token)
  sampler.accept(tokens)
})

t.test('a mask leaves out tokens before anything else is done with their scores', async t => {
  const logits = makeLogits(70)
  const mask = new Uint32Array(3)
  for (const token of [3, 33, 69]) mask[token >> 5]! |= 1 << (token & 31)
  for (const options of [
    {},
    { temperature: 1 },
    { temperature: 1, topK: 2 },
    { temperature: 5, topP: 0.9 },
  ]) {
    const sampler = new PublicSampler(70, { ...options, seed: 1, logitBias: { 4: 100 } })
    const masked = Float32Array.from(logits, (logit, id) =>
      [3, 33, 69].includes(id) ? logit : -Infinity,
    )
    const twin = new PublicSampler(70, { ...options, seed: 1 })
    for (let i = 0; i < 50; i++) t.same(sampler.sample(logits, mask), twin.sample(masked))
  }
  const { topLogprobs } = new PublicSampler(70, { logprobs: 5 }).sample(logits, mask)
  t.same(topLogprobs, new PublicSampler(70, { logprobs: 5 }).sample(logits).topLogprobs)
  const sampler = new PublicSampler(70)
  t.throws(() => sampler.sample(logits, new Uint32Array(3)), { code: 'NON_FINITE_LOGITS' })
  for (const wrong of [new Uint32Array(2), new Uint32Array(4), [1, 1, 1], null]) {
    t.throws(() => sampler.sample(logits, wrong as Uint32Array), invalid)
    t.throws(() => create(70).sample(logits, wrong as Uint32Array), invalid)
  }
})
