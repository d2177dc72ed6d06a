import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createOpenELM, openelm } from '../../lib/ai-sdk/index.js'
import { OpenELM } from '../../lib/index.js'
import { importClient, skip } from './installed.js'

Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false })

const model = await OpenELM.load('openelm-nano', { backend: 'cpu' })
t.teardown(() => model.dispose())
const nano = openelm(model, { modelId: 'nano' })
const prompt = 'It was a fine evening, and'
const messages = [{ role: 'user', content: prompt }] as const
const drawn = { temperature: 0.8, topP: 0.9, seed: 1 }
const { text: expected, usage } = await model.generate(messages, { ...drawn, maxTokens: 30 })

/** Waits until no generation holds memory. */
async function settle(t: Test): Promise<void> {
  for (let i = 0; i < 500 && model.memory.kvCache > 0; i++) await setTimeout(10)
  t.equal(model.memory.kvCache, 0)
}

async function textOf(chunks: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const chunk of chunks) text += chunk
  return text
}

for (const version of ['ai6', 'ai7']) {
  t.test(version, { skip }, async t => {
    const ai = await importClient(version)
    const asked = { model: nano, prompt, maxOutputTokens: 30, ...drawn }

    t.test('generateText', async t => {
      const result = await ai.generateText({ ...asked, stopSequences: ['no such text'] })
      t.equal(result.text, expected)
      t.equal(result.finishReason, 'length')
      t.match(result.usage, {
        inputTokens: usage.promptTokens,
        outputTokens: usage.completionTokens,
        totalTokens: usage.promptTokens + usage.completionTokens,
      })
      t.match(result.response, { modelId: 'nano', id: /^[\w-]{36}$/, timestamp: Date })
      t.same(result.warnings, [])
      const [word] = expected.trim().split(' ').slice(-1)
      const stopped = await ai.generateText({ ...asked, stopSequences: [word] })
      t.equal(stopped.finishReason, 'stop')
      t.equal(stopped.text, expected.slice(0, expected.indexOf(word!)))
    })

    t.test('streamText', async t => {
      const result = ai.streamText(asked)
      t.equal(await textOf(result.textStream), expected)
      t.equal(await result.finishReason, 'length')
      t.equal((await result.usage).outputTokens, 30)
      t.match(await result.response, { modelId: 'nano' })
      const smooth = ai.streamText({
        ...asked,
        experimental_transform: ai.smoothStream({ delayInMs: null }),
      })
      const chunks: string[] = []
      for await (const chunk of smooth.textStream) chunks.push(chunk)
      t.equal(chunks.join(''), expected)
      t.ok(
        chunks.slice(0, -1).every(chunk => /\s$/.test(chunk)),
        'whole words',
      )
    })

    t.test('a conversation, with a system message', async t => {
      const conversation = [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Good evening.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Who ' },
            { type: 'text', text: 'is it?' },
          ],
        },
      ] as const
      const { text } = await ai.generateText({
        model: nano,
        system: 'Be kind.',
        messages: conversation,
        maxOutputTokens: 10,
      })
      const same = [{ role: 'system', content: 'Be kind.' }, ...conversation] as const
      t.equal(text, (await model.generate(same, { maxTokens: 10 })).text)
    })

    t.test('an abort', async t => {
      const controller = new AbortController()
      const result = ai.streamText({
        ...asked,
        maxOutputTokens: 500,
        abortSignal: controller.signal,
      })
      const types: string[] = []
      for await (const { type } of result.fullStream) {
        types.push(type)
        if (type === 'text-delta') controller.abort()
      }
      t.equal(types.at(-1), 'abort')
      await settle(t)
      const reason = new Error('enough')
      const aborted = ai.generateText({ ...asked, abortSignal: AbortSignal.abort(reason) })
      await t.rejects(aborted, reason)
    })

    t.test('readers who leave', async t => {
      for (let i = 0; i < 5; i++) {
        for await (const _ of ai.streamText(asked).textStream) break
      }
      await settle(t)
    })

    t.test('options that are wrong, and what is not supported', async t => {
      const bad: [object, RegExp][] = [
        [{ temperature: -1 }, /options\.temperature/],
        [{ topP: 2 }, /options\.topP/],
        [{ providerOptions: { openelm: { minP: 2 } } }, /options\.minP/],
        [{ providerOptions: { openelm: { minp: 0.1 } } }, /did you mean minP/],
      ]
      for (const [options, message] of bad) {
        const refused = { code: 'INVALID_ARGUMENT', message }
        await t.rejects(ai.generateText({ ...asked, ...options }), refused)
        let error: unknown
        const onError = (event: { error: unknown }) => {
          error = event.error
        }
        await ai.streamText({ ...asked, ...options, onError }).consumeStream()
        t.match(error, refused)
      }
      const image = { type: 'image', image: new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]) }
      const shown = { model: nano, messages: [{ role: 'user', content: [image] }] }
      await t.rejects(ai.generateText(shown), {
        code: 'INVALID_ARGUMENT',
        message: 'expected prompt[0].content[0].type to be "text", received "file"',
      })
      const clock = ai.tool({ inputSchema: ai.jsonSchema({ type: 'object', properties: {} }) })
      const { warnings, text } = await ai.generateText({ ...asked, tools: { clock } })
      t.match(warnings, [{ type: 'unsupported', feature: 'tools' }])
      t.equal(text, expected)
    })

    t.test('what the AI SDK has no name for', async t => {
      const options = { repetitionPenalty: 1.3, minP: 0.1 }
      const { text } = await ai.generateText({ ...asked, providerOptions: { openelm: options } })
      const ours = await model.generate(messages, { ...drawn, ...options, maxTokens: 30 })
      t.equal(text, ours.text)
      t.not(text, expected)
      const penalties = { presencePenalty: 1, frequencyPenalty: 0.5 }
      const other = await model.generate(messages, { ...drawn, ...penalties, maxTokens: 30 })
      t.equal((await ai.generateText({ ...asked, ...penalties })).text, other.text)
    })

    t.test('JSON that fits a schema', async t => {
      const short = { type: 'string', maxLength: 8, pattern: '^[a-z]*$' }
      const count = { type: 'integer', minimum: 0, maximum: 9 }
      const person = ai.jsonSchema({
        type: 'object',
        properties: { name: short, count },
        required: ['name', 'count'],
        additionalProperties: false,
      })
      const ask = {
        model: nano,
        prompt: 'Who?',
        temperature: 1,
        maxOutputTokens: 200,
        frequencyPenalty: 2,
      }
      const kinds: [object, (output: unknown) => void][] = [
        [
          ai.Output.object({ schema: person }),
          output => t.match(output, { name: /^[a-z]{0,8}$/, count: /^\d$/ }),
        ],
        [
          ai.Output.array({ element: ai.jsonSchema(count) }),
          output => t.ok((output as number[]).every(n => Number.isInteger(n) && n >= 0 && n <= 9)),
        ],
        [
          ai.Output.choice({ options: ['rain', 'sun'] }),
          output => t.ok(['rain', 'sun'].includes(output as string)),
        ],
      ]
      for (let seed = 0; seed < 5; seed++) {
        for (const [output, check] of kinds) {
          const { output: made, warnings } = await ai.generateText({ ...ask, seed, output })
          check(made)
          t.same(warnings, [])
        }
      }
      const partial: unknown[] = []
      const streamed = ai.streamText({ ...ask, seed: 1, output: kinds[0]![0] })
      for await (const part of streamed.partialOutputStream) partial.push(part)
      t.match(partial.at(-1), { name: String, count: Number })
      const refused = ai.Output.object({
        schema: ai.jsonSchema({ type: 'object', patternProperties: { a: {} } }),
      })
      await t.rejects(ai.generateText({ ...ask, output: refused }), {
        code: 'INVALID_ARGUMENT',
        message: /patternProperties/,
      })
    })

    t.test('a registry', async t => {
      const provider = createOpenELM({ models: { nano: model } })
      const registry = ai.createProviderRegistry({ openelm: provider })
      const found = registry.languageModel('openelm:nano')
      t.equal((await ai.generateText({ ...asked, model: found })).text, expected)
      const refused = { code: 'MODEL_NOT_FOUND', modelType: 'languageModel', modelId: 'other' }
      t.throws(() => registry.languageModel('openelm:other'), refused)
      for (const type of ['embeddingModel', 'imageModel'] as const) {
        try {
          provider[type]('nano')
          t.fail('no error')
        } catch (error) {
          t.ok(ai.NoSuchModelError.isInstance(error), type)
        }
      }
    })

    t.test('a model in middleware', async t => {
      const wrapped = ai.wrapLanguageModel({
        model: nano,
        middleware: [
          ai.defaultSettingsMiddleware({ settings: { maxOutputTokens: 3 } }),
          ai.simulateStreamingMiddleware(),
        ],
      })
      const { usage } = await ai.generateText({ model: wrapped, prompt })
      t.equal(usage.outputTokens, 3)
      t.ok(await textOf(ai.streamText({ model: wrapped, prompt }).textStream))
    })
  })
}

const call = { prompt: [{ role: 'user', content: [{ type: 'text', text: prompt }] }] } as const

t.test(
  'a stream is made whether it is read or not, and errs with the reason of an abort',
  async t => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const { stream } = await nano.doStream({ ...call, abortSignal: controller.signal })
    const reader = stream.getReader()
    t.match(await reader.read(), { value: { type: 'stream-start', warnings: [] } })
    controller.abort(reason)
    await t.rejects(async () => {
      while (!(await reader.read()).done);
    }, reason)
    await nano.doStream({ ...call, maxOutputTokens: 5 })
    await settle(t)
    const left = await nano.doStream({ ...call, maxOutputTokens: 2000 })
    await left.stream.cancel()
    await settle(t)
  },
)

t.test('a generation that fails', async t => {
  const long = { role: 'user', content: [{ type: 'text', text: 'word '.repeat(5000) }] } as const
  const { stream } = await nano.doStream({ prompt: [long] })
  const parts: { type: string; error?: unknown }[] = []
  for await (const part of stream) parts.push(part)
  t.match(parts.at(-1), { type: 'error', error: { code: 'CONTEXT_OVERFLOW' } })
})

t.test('what a prompt may hold', async t => {
  const thought = { type: 'reasoning', text: 'hm' }
  const said = { role: 'assistant', content: [thought, { type: 'text', text: 'Yes.' }] } as const
  const { content } = await nano.doGenerate({
    prompt: [...call.prompt, said, ...call.prompt],
    maxOutputTokens: 5,
  })
  const same = [...messages, { role: 'assistant', content: 'Yes.' }, ...messages] as const
  t.equal(content[0]!.text, (await model.generate(same, { maxTokens: 5 })).text)
  const refused = { code: 'INVALID_ARGUMENT' }
  const toolCall = { role: 'assistant', content: [{ type: 'tool-call' }] } as const
  await t.rejects(nano.doGenerate({ prompt: [toolCall] }), { ...refused, message: /content\[0\]/ })
  const answer = { role: 'tool', content: [{ type: 'tool-result' }] } as const
  await t.rejects(nano.doGenerate({ prompt: [answer] }), {
    ...refused,
    message: /prompt\[0\]\.role/,
  })
})

t.test('arguments', async t => {
  const refused = { code: 'INVALID_ARGUMENT' }
  t.throws(() => openelm({} as OpenELM), refused)
  t.throws(() => openelm(model, { modelID: 'x' } as object), { message: /did you mean modelId/ })
  t.throws(() => createOpenELM({} as never), refused)
  t.throws(() => createOpenELM({ models: { a: 'b' as never } }), { message: /options\.models\.a/ })
})
