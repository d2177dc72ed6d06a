/** What a program in TypeScript writes. test/types.test.ts compiles it under the settings that programs have. */
import {
  backends,
  countParameters,
  decodeText,
  type GenerateResult,
  type GenerationStream,
  type LoadOptions,
  type MachineSpeed,
  type Message,
  machineInfo,
  measureMachine,
  OpenELM,
  OpenELMError,
  type OpenELMErrorCode,
  perplexity,
  readConfig,
  Sampler,
} from 'openelm'
import { openelm } from 'openelm/ai-sdk'
import { type QuantizeOptions, quantize } from 'openelm/convert'
import { connect, serve } from 'openelm/electron'
import { readRecipe, TrainingLog, type TrainStep, train } from 'openelm/train'

// Options that may be undefined, as those are which a program passes on.
declare const signal: AbortSignal | undefined
declare const threads: number | undefined
declare const temperature: number | undefined
const load: LoadOptions = { signal, threads, dtype: 'q8', backend: 'auto' }
const quantization: QuantizeOptions = { dtype: 'q4', signal, threads }

export async function generate(): Promise<string> {
  const model: OpenELM = await OpenELM.load('openelm-nano', load)
  const result: GenerateResult = await model.generate('Once', { temperature, signal, seed: 1n })
  for await (const { text, token } of model.stream([1, 2], { maxTokens: 5 })) {
    console.log(text.trim(), token + 1)
  }
  const { logprob } = await model.score('Once upon', Int32Array.of(1, 2))
  const session = model.createSession({ contextLength: 10 })
  const logits: Float32Array = await session.append([1], { signal })
  const { token } = new Sampler(model.config.vocabSize, { temperature }).sample(logits)
  const stream: GenerationStream = session.fork().stream([token], { signal })
  for await (const chunk of stream) console.log(chunk.text)
  console.log((await stream.result).finishReason)
  session.dispose()
  const messages: Message[] = [{ role: 'system', content: 'Be brief.' }]
  const chat = model.createChat({ messages, contextLength: threads })
  console.log((await chat.send('Hello', { signal })).text, chat.contextUsage)
  const name: string = await model.loadAdapter({ path: 'adapter', scale: 0.5 })
  const adapter = model.adapters.map(({ name }) => ({ name, scale: threads }))
  await model.generate('Once', { adapter, signal })
  await model.scores([1, 2], { adapter: null, top: 1 })
  await model.createChat({ adapter: name }).send('Hello')
  model.unloadAdapter(name)
  // @ts-expect-error: a session has the adapter that it was created with.
  await model.createSession({ adapter: name }).generate('Once', { adapter: name })
  await model.dispose()
  // @ts-expect-error: there is no such option.
  await model.generate('Once', { temprature: 1 })
  // @ts-expect-error: a number is no prompt.
  await model.generate(5)
  return `${result.text} ${logprob} ${logits.length}`
}

export async function learn(): Promise<TrainStep[]> {
  await quantize('float', 'quantised', quantization)
  const steps: TrainStep[] = []
  const config = await readConfig('config.json')
  console.log(countParameters(config))
  const recipe = await readRecipe('recipe.json')
  const log = await TrainingLog.open('run', 1)
  const options = { ...recipe, config, tokenizer: {}, data: ['a.txt'], out: 'run', signal }
  for await (const step of train(options)) {
    steps.push(step)
    await log.add(step)
  }
  return steps
}

export async function measure(model: OpenELM, bytes: Uint8Array): Promise<number> {
  const { threads, kernels } = machineInfo()
  const { floatPeak }: MachineSpeed = await measureMachine(threads)
  const { bitsPerByte } = await perplexity(model, decodeText(bytes, 'book.txt'), { signal })
  return kernels === 'scalar' ? floatPeak : bitsPerByte
}

export function explain(error: unknown): OpenELMErrorCode | undefined {
  console.log(backends().map(({ name, available }) => `${name}: ${available}`))
  return error instanceof OpenELMError ? error.code : undefined
}

/** A page has a port of the DOM, a thread one of node:worker_threads. */
export async function talk(model: OpenELM): Promise<string> {
  const { port1, port2 } = new MessageChannel()
  serve(model, port1)
  await using chat = await connect(port2).createChat({ truncate: 'oldest' })
  const { text } = await chat.send('Hello', { temperature, signal })
  return text
}

/** What the AI SDK would do with a model. */
export async function answer(model: OpenELM, text: string): Promise<string | undefined> {
  const content = [{ type: 'text', text }] as const
  const result = await openelm(model).doGenerate({ prompt: [{ role: 'user', content }] })
  return result.content[0]?.text
}
