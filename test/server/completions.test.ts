import t from 'tap'
import { startServer } from '../helpers/server.js'

const { model, ask, events, post, refusal, server } = await startServer(t)
const path = '/v1/completions'
const greedy = { prompt: 'It was a fine evening, and', max_tokens: 12, temperature: 0 }

t.test('a completion is what the model generates', async t => {
  const expected = await model.generate(greedy.prompt, { maxTokens: 12 })
  const answer = await ask(path, greedy)
  t.match(answer, {
    id: /^cmpl-/,
    object: 'text_completion',
    created: Number,
    model: 'openelm',
    system_fingerprint: 'openelm-cpu-bfloat16',
    choices: [{ index: 0, text: expected.text, logprobs: null, finish_reason: 'length' }],
    usage: { completion_tokens: 12, prompt_tokens: expected.usage.promptTokens },
  })
  t.equal(answer.usage.total_tokens, 12 + expected.usage.promptTokens)
  const tokens = model.tokenizer.encode(greedy.prompt)
  t.equal((await ask(path, { ...greedy, prompt: tokens })).choices[0].text, expected.text)
})

t.test('a stream is the same text in pieces', async t => {
  const { choices, usage } = await ask(path, greedy)
  const pieces = await events(path, { ...greedy, stream_options: { include_usage: true } })
  const last = pieces.pop()
  t.same(last.choices, [])
  t.equal(last.usage.total_tokens, usage.total_tokens)
  t.ok(pieces.length > 1)
  t.equal(pieces.map(({ choices: [{ text }] }) => text).join(''), choices[0].text)
  t.same(pieces.map(({ choices: [{ finish_reason }] }) => finish_reason).filter(Boolean), [
    'length',
  ])
  t.ok(pieces.every(({ id, usage }) => id === pieces[0].id && usage === null))
  const response = await post(path, { ...greedy, stream: true })
  t.match(Object.fromEntries(response.headers), {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  })
  await response.text()
})

t.test('the options of the model have the names of OpenAI and llama.cpp', async t => {
  const drawn = {
    prompt: 'She',
    max_tokens: 16,
    temperature: 0.9,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.01,
    repeat_penalty: 1.2,
    repeat_last_n: 32,
    presence_penalty: 0.1,
    frequency_penalty: 0.2,
    logit_bias: { 5: -100 },
    ignore_eos: true,
    seed: 7,
    user: 'someone',
    unknown: {},
  }
  const { text } = await model.generate('She', {
    maxTokens: 16,
    temperature: 0.9,
    topP: 0.9,
    topK: 40,
    minP: 0.01,
    repetitionPenalty: 1.2,
    repetitionContextSize: 32,
    presencePenalty: 0.1,
    frequencyPenalty: 0.2,
    logitBias: { 5: -100 },
    ignoreEos: true,
    seed: 7,
  })
  t.equal((await ask(path, drawn)).choices[0].text, text)
  const hot = await model.generate('She', { maxTokens: 16, temperature: 1, seed: 3 })
  const byDefault = { prompt: 'She', seed: 3, temperature: null, top_k: -1, repeat_last_n: -1 }
  t.equal((await ask(path, byDefault)).choices[0].text, hot.text, 'temperature is 1, 16 tokens')
})

t.test('several prompts and choices come by index', async t => {
  const prompts = ['It was', 'She had', 'The']
  const { choices, usage } = await ask(path, { prompt: prompts, n: 2, max_tokens: 6, seed: 5 })
  t.equal(choices.length, 6)
  for (const [i, choice] of choices.entries()) {
    const options = { maxTokens: 6, temperature: 1, seed: 5 + (i % 2) }
    const { text } = await model.generate(prompts[Math.floor(i / 2)]!, options)
    t.match(choice, { index: i, text })
  }
  t.equal(usage.completion_tokens, 36)
  const pieces = await events(path, { prompt: prompts, n: 2, max_tokens: 6, seed: 5 })
  for (const { index, text } of choices) {
    const own = pieces.filter(({ choices: [choice] }) => choice.index === index)
    t.equal(own.map(({ choices: [choice] }) => choice.text).join(''), text)
  }
})

t.test('stop texts end it and are not part of it', async t => {
  const [{ text }] = (await ask(path, greedy)).choices
  const stop = text.slice(8, 11)
  const answer = await ask(path, { ...greedy, stop: ['never', stop] })
  t.match(answer.choices[0], { text: text.slice(0, text.indexOf(stop)), finish_reason: 'stop' })
  const [piece] = (await events(path, { ...greedy, stop })).slice(-1)
  t.equal(piece.choices[0].finish_reason, 'stop')
})

interface Choice {
  index: number
  logprobs: { token_logprobs: number[]; top_logprobs: Record<string, number>[] }
}

/** As lm-evaluation-harness reads an answer (openai_completions.py, parse_logprobs). */
function harnessScores(answer: { choices: Choice[] }, contextLengths: number[]) {
  const choices = answer.choices.toSorted((a, b) => a.index - b.index)
  return choices.map(({ logprobs }, i) => {
    const tokens = logprobs.token_logprobs.slice(contextLengths[i], -1)
    const tops = logprobs.top_logprobs.slice(contextLengths[i], -1)
    return {
      logprob: tokens.reduce((sum, logprob) => sum + logprob, 0),
      isGreedy: tokens.every((logprob, j) => logprob === Math.max(...Object.values(tops[j]!))),
    }
  })
}

t.test('lm-evaluation-harness scores continuations', async t => {
  const { tokenizer } = model
  const greedyText = (await model.generate('It was a', { maxTokens: 4 })).text
  const pairs = [
    ['It was a fine evening, and', ' she was'],
    ['It was a', greedyText],
    ['Emma', ' Woodhouse, handsome, clever, and rich'],
  ] as const
  const prompts = pairs.map(([context, continuation]) => tokenizer.encode(context + continuation))
  const contexts = pairs.map(([context]) => tokenizer.encode(context).length)
  const request = {
    prompt: prompts,
    temperature: 0,
    max_tokens: 1,
    logprobs: 1,
    seed: 1234,
    echo: true,
  }
  const answer = await ask(path, { model: 'any', ...request })
  const scores = harnessScores(answer, contexts)
  for (const [i, prompt] of prompts.entries()) {
    const { logprobs, text } = answer.choices[i]
    for (const list of Object.values(logprobs) as unknown[][])
      t.equal(list.length, prompt.length + 1)
    t.equal(logprobs.token_logprobs[0], null)
    t.equal(logprobs.top_logprobs[0], null)
    t.ok(text.startsWith(pairs[i]!.join('')))
    const context = prompt.slice(0, contexts[i])
    const expected = await model.score(context, prompt.slice(contexts[i]))
    t.equal(scores[i]!.logprob, expected.logprob)
    t.equal(scores[i]!.isGreedy, expected.isGreedy)
  }
  t.same(scores.map(({ isGreedy }) => isGreedy).filter(Boolean).length >= 1, true)

  const scored = await ask(path, { ...request, max_tokens: 0 })
  for (const [i, { logprobs }] of scored.choices.entries()) {
    t.same(logprobs.token_logprobs, answer.choices[i].logprobs.token_logprobs.slice(0, -1))
  }
})

t.test('log-probabilities of generated tokens', async t => {
  const { choices } = await ask(path, { ...greedy, logprobs: 3 })
  const [{ text, logprobs }] = choices
  t.equal(logprobs.tokens.join(''), text)
  for (const [i, top] of logprobs.top_logprobs.entries()) {
    t.equal(Object.keys(top).length, 3)
    t.equal(top[logprobs.tokens[i]], logprobs.token_logprobs[i])
    t.ok(text.startsWith(logprobs.tokens[i], logprobs.text_offset[i]))
  }
  const pieces = await events(path, { ...greedy, logprobs: 3, echo: true })
  const streamed = pieces.flatMap(({ choices: [choice] }) => choice.logprobs?.token_logprobs ?? [])
  const whole = await ask(path, { ...greedy, logprobs: 3, echo: true })
  t.same(streamed, whole.choices[0].logprobs.token_logprobs)
  const offsets = pieces.flatMap(({ choices: [choice] }) => choice.logprobs?.text_offset ?? [])
  t.same(offsets, whole.choices[0].logprobs.text_offset)
  t.equal(whole.usage.prompt_tokens_details.cached_tokens, 0)
})

t.test('echo gives the prompt back', async t => {
  const { choices } = await ask(path, { ...greedy, echo: true, max_tokens: 0 })
  t.match(choices, [{ text: greedy.prompt, finish_reason: 'length', logprobs: null }])
  const tokens = model.tokenizer.encode('Hello there')
  const answer = await ask(path, { prompt: [tokens, tokens], echo: true, max_tokens: 2 })
  for (const { text } of answer.choices) t.ok(text.startsWith('Hello there'))
})

t.test('what is wrong is named', async t => {
  const invalid = (param: string) => [400, 'invalid_value', param]
  const wrong: [object, unknown[]][] = [
    [{}, invalid('prompt')],
    [{ prompt: [] }, invalid('prompt')],
    [{ prompt: {} }, invalid('prompt')],
    [{ prompt: [1, 'a'] }, invalid('prompt')],
    [{ prompt: [[]] }, invalid('prompt')],
    [{ prompt: [1, 99_999] }, invalid('prompt[1]')],
    [{ prompt: 'a', max_tokens: -1 }, invalid('max_tokens')],
    [{ prompt: 'a', max_tokens: 1.5 }, invalid('max_tokens')],
    [{ prompt: 'a', max_tokens: '3' }, invalid('max_tokens')],
    [{ prompt: 'a', temperature: 2.1 }, invalid('temperature')],
    [{ prompt: 'a', temperature: -0.1 }, invalid('temperature')],
    [{ prompt: 'a', top_p: 1.1 }, invalid('top_p')],
    [{ prompt: 'a', top_k: -2 }, invalid('top_k')],
    [{ prompt: 'a', min_p: 1 }, invalid('min_p')],
    [{ prompt: 'a', seed: 0.5 }, invalid('seed')],
    [{ prompt: 'a', presence_penalty: 3 }, invalid('presence_penalty')],
    [{ prompt: 'a', logit_bias: { x: 1 } }, invalid('a key of logit_bias')],
    [{ prompt: 'a', logit_bias: { 99999: 1 } }, invalid('a key of logit_bias')],
    [{ prompt: 'a', logprobs: 21 }, invalid('logprobs')],
    [{ prompt: 'a', stop: ['a', 'b', 'c', 'd', 'e'] }, invalid('stop')],
    [{ prompt: 'a', stop: [''] }, invalid('stop[0]')],
    [{ prompt: 'a', n: 9 }, invalid('n')],
    [{ prompt: Array(65).fill('a'), n: 2 }, invalid('n')],
    [{ prompt: 'a', stream: 1 }, invalid('stream')],
    [{ prompt: 'a', echo: 'yes' }, invalid('echo')],
    [{ prompt: 'a', best_of: 2 }, [400, 'unsupported_parameter', 'best_of']],
    [{ prompt: 'a', suffix: 'b' }, [400, 'unsupported_parameter', 'suffix']],
    [{ prompt: 'a '.repeat(600) }, [400, 'context_length_exceeded', null]],
    [{ prompt: 'a'.repeat(600_000) }, [400, 'context_length_exceeded', null]],
    [{ prompt: Array(600).fill(5) }, [400, 'context_length_exceeded', null]],
  ]
  for (const [body, expected] of wrong) {
    t.same(await refusal(path, body), expected, JSON.stringify(body).slice(0, 80))
  }
  const { error } = await ask(path, { prompt: Array(600).fill(5) })
  t.equal(error.message, 'request (600 tokens) exceeds the available context size (512 tokens)')
  for (const body of ['', '[', '[]', 'null', '"a"', '{"prompt":"a"}}', '\ud800']) {
    t.same(await refusal(path, body), [400, 'invalid_json', null], body)
  }
  for (const neutral of [
    { best_of: 1, suffix: null, stop: null, logit_bias: {}, logprobs: false },
  ]) {
    t.equal((await post(path, { prompt: 'a', max_tokens: 1, ...neutral })).status, 200)
  }
})

t.test('long requests are refused', async t => {
  t.same(await refusal(path, { prompt: 'a'.repeat(2 ** 20) }), [413, 'request_too_large', null])
  t.ok(server.listening)
})
