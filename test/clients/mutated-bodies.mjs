/** Bodies of requests as nobody should send them: valid ones with strange values, some of them cut or spoilt. */
const strange = [
  null,
  true,
  -1,
  0,
  0.5,
  1e308,
  2 ** 53,
  '',
  'a',
  '\u0000',
  '</s>',
  [],
  [[]],
  {},
  [null],
  { a: 1 },
  ['a', 1],
  [-1],
  [1, 2],
  'x'.repeat(3000),
  '\ud800',
  { __proto__: null, type: 'text' },
]

const bases = [
  [
    '/v1/completions',
    { prompt: 'Hello', max_tokens: 2, temperature: 1, n: 1, logprobs: 1, echo: true },
  ],
  [
    '/v1/completions',
    { prompt: [[1, 2], [3]], stop: ['a'], seed: 1, stream: true, logit_bias: { 5: 1 } },
  ],
  [
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'Hi' }], max_tokens: 1, tools: [] },
  ],
  [
    '/v1/chat/completions',
    { messages: [{ role: 'user', content: 'a' }], stream: true, top_p: 0.5, min_p: 0.1 },
  ],
  [
    '/v1/chat/completions',
    {
      messages: [{ role: 'user', content: 'a' }],
      max_tokens: 3,
      response_format: { type: 'json_schema', json_schema: { schema: { type: 'string' } } },
    },
  ],
  ['/tokenize', { prompt: 'Hello', add_special_tokens: true }],
  ['/detokenize', { tokens: [1, 2, 3] }],
]

/** The same sequence in each run. */
export function* mutatedBodies(count) {
  let state = 1
  const random = n => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const pick = list => list[random(list.length)]
  const mutate = ([path, body]) => {
    const mutated = structuredClone(body)
    for (let i = random(3); i >= 0; i--) {
      const key = pick(Object.keys(mutated))
      if (random(4) === 0 && Array.isArray(mutated[key]))
        mutated[key].push(structuredClone(pick(strange)))
      else mutated[key] = structuredClone(pick(strange))
    }
    const text = JSON.stringify(mutated)
    if (random(3) !== 0) return { path, body: text }
    const at = random(text.length)
    const spoilt = pick(['', '"', '{', ']', ',', '\\u', '9'.repeat(40)])
    return { path, body: text.slice(0, at) + spoilt + text.slice(at + random(4)) }
  }
  for (let i = 0; i < count; i++) yield mutate(pick(bases))
}
