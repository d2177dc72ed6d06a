import t from 'tap'
import { testBackend } from '../helpers/backend.js'
import { startServer } from '../helpers/server.js'

const long =
  'It was a fine evening, and the whole party went out upon the terrace to look at the sea, which lay ' +
  'quite still under the moon. Nobody spoke for a long time. At last the captain said that he had never '

t.test('a prompt that begins like an earlier one costs only the rest', async t => {
  const { ask, model } = await startServer(t, { parallel: 2 })
  const request = { prompt: long, max_tokens: 24, temperature: 0, logprobs: 3 }
  const fresh = await ask('/v1/completions', { ...request, cache_prompt: false })
  const first = await ask('/v1/completions', request)
  t.equal(first.usage.prompt_tokens_details.cached_tokens, 0)
  const again = await ask('/v1/completions', request)
  t.equal(again.usage.prompt_tokens_details.cached_tokens, again.usage.prompt_tokens - 1)

  const branch = { ...request, prompt: `${long}seen a moon so bright` }
  const plain = await ask('/v1/completions', { ...branch, cache_prompt: false })
  const kept = await ask('/v1/completions', branch)
  t.ok(kept.usage.prompt_tokens_details.cached_tokens > 40)
  const several = { ...branch, n: 3, seed: 3, temperature: 1 }
  const drawn = await ask('/v1/completions', several)
  t.ok(drawn.usage.prompt_tokens_details.cached_tokens > 40)
  if (testBackend === 'cpu') {
    t.same(first.choices, fresh.choices, 'not a bit of the log-probabilities changes')
    t.same(again.choices, fresh.choices)
    t.same(kept.choices, plain.choices)
    t.same(
      drawn.choices,
      (await ask('/v1/completions', { ...several, cache_prompt: false })).choices,
    )
  }
  t.ok(model.memory.kvCache > 0)
})

t.test('the second turn of a conversation prefills only what is new', async t => {
  const { ask } = await startServer(t)
  const messages = [{ role: 'user', content: long }]
  const first = await ask('/v1/chat/completions', { messages, max_tokens: 20, temperature: 0 })
  messages.push(first.choices[0].message, { role: 'user', content: 'And then?' })
  const second = await ask('/v1/chat/completions', { messages, max_tokens: 20, temperature: 0 })
  const { prompt_tokens, prompt_tokens_details } = second.usage
  t.ok(prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens)
  t.ok(prompt_tokens - prompt_tokens_details.cached_tokens < 40)
})

t.test('short common beginnings do not take a cache from another prompt', async t => {
  const { ask } = await startServer(t, { parallel: 2 })
  const cached = async (prompt: string) => {
    const { usage } = await ask('/v1/completions', { prompt, max_tokens: 4 })
    return usage.prompt_tokens_details.cached_tokens
  }
  const other = `No, said the captain. ${long}`
  t.same([await cached(long), await cached(other)], [0, 0])
  t.ok((await cached(long)) > 40)
  t.ok((await cached(other)) > 40)
  // The oldest gives way to a third, and then is computed again.
  t.ok((await cached(`Yes. ${long}`)) <= 1)
  t.ok((await cached(other)) > 40)
  t.ok((await cached(long)) <= 1, 'all begin with the same first token')
})

t.test('what would lose more than it gives is forked', async t => {
  const { ask } = await startServer(t, { cacheSlots: 2 })
  const cached = async (prompt: string) => {
    const { usage } = await ask('/v1/completions', { prompt, max_tokens: 2 })
    return usage.prompt_tokens_details.cached_tokens
  }
  const story = long + long.toUpperCase()
  await cached(story)
  t.ok((await cached(`${long}seen`)) > 40)
  t.ok((await cached(story)) > 100, 'the story is still there')
})

t.test('memory is given back', async t => {
  const { ask, model, server } = await startServer(t, { cacheSlots: 1 })
  const request = { prompt: long, max_tokens: 4 }
  await Promise.all(Array.from({ length: 4 }, () => ask('/v1/completions', request)))
  const slot = model.createSession()
  const { kvCache } = model.memory
  slot.dispose()
  t.equal(model.memory.kvCache, kvCache / 2, 'one slot is kept')
  server.close()
  server.closeAllConnections()
  await new Promise(resolve => server.on('close', resolve))
  t.equal(model.memory.kvCache, 0)

  const without = await startServer(t, { cacheSlots: 0 })
  await without.ask('/v1/completions', { ...request, n: 2, prompt: [long, 'Hello'] })
  await without.ask('/v1/completions', { ...request, logprobs: 1, echo: true })
  t.equal(without.model.memory.kvCache, 0)
})
