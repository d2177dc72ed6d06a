import t from 'tap'
import { startServer } from '../helpers/server.js'

const { model, ask, get, post, refusal, url } = await startServer(t)

t.test('texts become tokens and texts again, as vLLM has it', async t => {
  const { tokenizer } = model
  const prompt = 'Grüße, 世界'
  const tokens = tokenizer.encode(prompt)
  t.same(await ask('/tokenize', { prompt }), {
    count: tokens.length,
    max_model_len: model.contextLength,
    tokens,
    token_strs: null,
  })
  const bare = await ask('/tokenize', { prompt, add_special_tokens: false })
  t.same(bare.tokens, tokens.slice(1))
  t.same(await ask('/detokenize', { tokens: bare.tokens }), { prompt })
  t.same(await refusal('/tokenize', {}), [400, 'invalid_value', 'prompt'])
  t.same(await refusal('/detokenize', { tokens: [-1] }), [400, 'invalid_value', 'token'])
  t.same(await refusal('/detokenize', { tokens: 'a' }), [400, 'invalid_value', 'tokens'])
})

t.test('lm-evaluation-harness finds the special tokens', async t => {
  const info = await get('/tokenizer_info')
  t.same(info, { eos_token: '</s>', bos_token: '<s>', pad_token: null, chat_template: null })
  const encode = async (prompt: string) =>
    (await ask('/tokenize', { prompt, add_special_tokens: false })).tokens
  t.same(await encode('</s>'), [model.tokenizer.eosTokenId])
  t.same(await encode('<s>'), [model.tokenizer.bosTokenId])
  t.notOk((await encode('a</s>')).includes(model.tokenizer.eosTokenId), 'nowhere else')
})

t.test('metrics are in the format of Prometheus', async t => {
  await post('/v1/completions', { prompt: 'Hello', max_tokens: 5 })
  const response = await fetch(`${url}/metrics`)
  t.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  const lines = (await response.text()).trim().split('\n')
  const values = new Map<string, number>()
  for (const line of lines) {
    if (line.startsWith('#')) {
      t.match(line, /^# (HELP openelm_\w+ .+\.|TYPE openelm_\w+ (counter|gauge|histogram))$/)
      continue
    }
    const [, name, value] = /^([a-z_]+(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})?) (\S+)$/.exec(line)!
    values.set(name!, Number(value))
  }
  t.equal(values.get('openelm_tokens_predicted_total'), 5)
  t.equal(values.get('openelm_weight_bytes'), model.memory.weights)
  t.equal(values.get('openelm_requests_processing'), 0)
  t.equal(values.get('openelm_time_to_first_token_seconds_bucket{le="+Inf"}'), 1)
  t.equal(values.get('openelm_requests_total{route="/v1/completions",status="200"}'), 1)
  t.ok(values.get('openelm_n_busy_slots_per_decode')! <= 4)
})
