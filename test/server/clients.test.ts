/** Other people's clients against `openelm serve`: `npm ci --prefix test/clients` installs them. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t from 'tap'
import { OpenELM } from '../../lib/index.js'
import { importClient, skip } from '../ai-sdk/installed.js'
import { start } from '../helpers/cli.js'

// Before there are connections: while a module is evaluated, nobody sees that the server closes idle ones.
const [openai, aiSdkProvider, ai, langChain] = await Promise.all(
  ['openai', '@ai-sdk/openai-compatible', 'ai6', '@langchain/openai'].map(name =>
    skip ? undefined : importClient(name),
  ),
)

const prompt = 'It was a fine evening, and'
const messages = [{ role: 'user', content: prompt }] as const
const model = await OpenELM.load('openelm-nano')
const completion = await model.generate(prompt, { maxTokens: 16 })
const answer = await model.generate(messages, { maxTokens: 16 })
await model.dispose()

const child = start(['serve', '--port', '0', '--cache-slots', '0'], { OPENELM_API_KEY: 'key' })
t.teardown(() => child.kill())
const [url] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
while ((await fetch(`${url}/health`)).status === 503);
const baseURL = `${url}/v1`

async function cacheBytes(): Promise<number> {
  const headers = { authorization: 'Bearer key' }
  const metrics = await (await fetch(`${url}/metrics`, { headers })).text()
  return Number(/^openelm_kv_cache_bytes (\d+)$/m.exec(metrics)![1])
}

t.test('curl', async t => {
  const body = JSON.stringify({ prompt, temperature: 0 })
  const args = ['-sS', '-H', 'content-type: application/json', '-H', 'authorization: Bearer key']
  const request = [...args, '-d', body, `${baseURL}/completions`]
  const { stdout } = await promisify(execFile)('curl', request)
  t.equal(JSON.parse(stdout).choices[0].text, completion.text)
})

t.test('openai', { skip }, async t => {
  const { default: OpenAI } = openai
  const client = new OpenAI({ baseURL, apiKey: 'key', maxRetries: 0 })
  const chat = { model: 'any', messages, temperature: 0, max_tokens: 16 }
  const text = { model: 'any', prompt, temperature: 0 }

  const { data } = await client.models.list()
  t.same(
    data.map(({ id }: { id: string }) => id),
    ['openelm-nano'],
  )
  t.match(await client.models.retrieve('openelm-nano'), { owned_by: 'openelm' })

  const { choices, usage } = await client.chat.completions.create(chat)
  t.equal(choices[0].message.content, answer.text)
  t.match(usage, { prompt_tokens: answer.usage.promptTokens, completion_tokens: 16 })
  const final = await client.chat.completions.stream({ ...chat, n: 2 }).finalChatCompletion()
  for (const choice of final.choices) t.equal(choice.message.content, answer.text)

  t.equal((await client.completions.create(text)).choices[0].text, completion.text)
  const batch = await client.completions.create({ ...text, prompt: [prompt, prompt, 'A'] })
  t.same(
    batch.choices.map(({ index }: { index: number }) => index),
    [0, 1, 2],
  )
  t.equal(batch.choices[1].text, completion.text)
  let streamed = ''
  let last: { usage?: object } = {}
  const options = { stream: true, stream_options: { include_usage: true } }
  for await (const part of await client.completions.create({ ...text, ...options })) {
    streamed += part.choices[0]?.text ?? ''
    last = part
  }
  t.equal(streamed, completion.text)
  t.match(last.usage, { completion_tokens: 16 })
  const scored = await client.chat.completions.create({ ...chat, logprobs: true, top_logprobs: 2 })
  t.equal(scored.choices[0].logprobs.content.length, 16)

  await t.rejects(client.completions.create({ ...text, top_p: 3 }), {
    constructor: OpenAI.BadRequestError,
    status: 400,
    code: 'invalid_value',
    param: 'top_p',
  })
  const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 })
  await t.rejects(stranger.models.list(), { status: 401, code: 'invalid_api_key' })

  const endless = { ...text, max_tokens: 400, ignore_eos: true, stream: true }
  const left = await client.completions.create(endless)
  for await (const part of left) {
    if (part) left.controller.abort()
  }
  for await (const part of await client.completions.create(endless)) if (part) break
  while ((await cacheBytes()) > 0);
})

t.test('the AI SDK, as it talks with any server of this kind', { skip }, async t => {
  const { createOpenAICompatible } = aiSdkProvider
  const provider = createOpenAICompatible({ name: 'openelm', baseURL, apiKey: 'key' })
  const limits = { temperature: 0, maxOutputTokens: 16, maxRetries: 0 }
  const chat = { model: provider('openelm-nano'), messages, ...limits }
  const { text, usage, finishReason } = await ai.generateText(chat)
  t.same([text, finishReason], [answer.text, 'length'])
  t.match(usage, { inputTokens: answer.usage.promptTokens, outputTokens: 16 })
  let streamed = ''
  for await (const part of ai.streamText(chat).textStream) streamed += part
  t.equal(streamed, answer.text)
  // This model writes its prompt as a conversation of its own.
  const plain = { model: provider.completionModel('openelm-nano'), prompt, ...limits }
  t.equal((await ai.generateText(plain)).usage.outputTokens, 16)
  await t.rejects(ai.generateText({ ...chat, topP: 3 }), {
    name: 'AI_APICallError',
    statusCode: 400,
  })
})

t.test('LangChain', { skip }, async t => {
  const { ChatOpenAI, OpenAI } = langChain
  const options = { apiKey: 'key', temperature: 0, maxTokens: 16, configuration: { baseURL } }
  const chat = new ChatOpenAI({ ...options, model: 'openelm-nano', maxRetries: 0 })
  t.equal((await chat.invoke([['user', prompt]])).content, answer.text)
  let streamed = ''
  for await (const part of await chat.stream([['user', prompt]])) streamed += part.content
  t.equal(streamed, answer.text)
  const texts = new OpenAI({ ...options, model: 'openelm-nano', maxRetries: 0 })
  t.equal(await texts.invoke(prompt), completion.text)
})
