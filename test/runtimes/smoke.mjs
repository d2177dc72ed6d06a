// What the package does, once each: `<runtime> smoke.mjs <dist> <directory>`, with the compiled package and
// where to write. Prints what came of it as JSON, which every runtime must print alike.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { MessageChannel } from 'node:worker_threads'

const [dist, scratch] = process.argv.slice(2)
const load = name => import(pathToFileURL(join(dist, name, 'index.js')).href)
const { OpenELM, OpenELMError, parseConfig } = await load('')
const { train, trainTokenizer } = await load('train')
const { checkpointToGguf, quantize } = await load('convert')
const { createServer } = await load('server')
const { connect, serve } = await load('electron')

const prompt = 'It was a fine evening, and'
const drawn = { maxTokens: 20, temperature: 1, seed: 7 }
const model = await OpenELM.load('openelm-nano', { backend: 'cpu', threads: 2 })
const { text } = await model.generate(prompt, drawn)
const results = {
  text,
  chat: await chat(),
  session: await session(),
  constrained: (await model.generate('A number:', { responseConstraint: /\d{4}-\d\d/ })).text,
  served: await overHttp(),
  trained: await trainAndWrite(),
  converted: await convert(),
}
await streams()
await abort()
await overPort()
await model.dispose()
await assert.rejects(model.generate(prompt), { code: 'DISPOSED' })
console.log(JSON.stringify(results))

/** Eight at a time, whose tokens those of a single one must be. */
async function streams() {
  const read = async () => {
    let streamed = ''
    for await (const chunk of model.stream(prompt, drawn)) streamed += chunk.text
    return streamed
  }
  const texts = await Promise.all(Array.from({ length: 8 }, read))
  for (const streamed of texts) assert.equal(streamed, text)
}

async function chat() {
  const talk = model.createChat()
  await talk.send('Good evening.', drawn)
  const answer = await talk.send('How are you?', drawn)
  talk.dispose()
  return { text: answer.text, cachedTokens: answer.usage.cachedTokens }
}

async function session() {
  const first = model.createSession()
  const logits = await first.append(model.tokenizer.encode(prompt))
  const fork = first.fork()
  const [one, other] = await Promise.all([first, fork].map(each => each.generate('', drawn)))
  assert.equal(one.text, other.text)
  first.rewind(3)
  const { position } = first
  first.dispose()
  fork.dispose()
  assert.equal(model.memory.kvCache, 0)
  return { logits: hash(new Uint8Array(logits.buffer)), text: one.text, position }
}

async function abort() {
  const controller = new AbortController()
  const stream = model.stream(prompt, { ignoreEos: true, signal: controller.signal })
  await assert.rejects(async () => {
    for await (const _ of stream) controller.abort(new Error('enough'))
  }, /enough/)
  await assert.rejects(OpenELM.load('./nowhere'), OpenELMError)
}

async function overHttp() {
  const server = createServer(model).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/v1/completions`
  const ask = body =>
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt, max_tokens: 20, seed: 7, ...body }),
    })
  const whole = await (await ask({})).json()
  assert.equal(whole.choices[0].text, text)
  const events = await (await ask({ stream: true })).text()
  const parts = events.split('\n\n').filter(event => /^data: \{/.test(event))
  const streamed = parts.map(event => JSON.parse(event.slice(6)).choices[0].text).join('')
  assert.equal(streamed, text)
  const refused = await ask({ top_p: 3 })
  server.close()
  server.closeAllConnections()
  return { usage: whole.usage, refused: [refused.status, await refused.json()] }
}

async function overPort() {
  const { port1, port2 } = new MessageChannel()
  serve(model, port1)
  const remote = connect(port2)
  const { text: sent } = await remote.generate(prompt, drawn)
  assert.equal(sent, text)
  let streamed = ''
  for await (const chunk of remote.stream(prompt, drawn)) streamed += chunk.text
  assert.equal(streamed, text)
  remote.close()
}

async function trainAndWrite() {
  const data = join(scratch, 'text.txt')
  writeFileSync(data, `${prompt} the sun went down behind the hills. `.repeat(40))
  const tokenizer = await trainTokenizer([readFileSync(data, 'utf8')], 300)
  const shape = JSON.parse(readFileSync(new URL('../../examples/tiny.json', import.meta.url)))
  const config = parseConfig({ ...shape, vocab_size: 300, max_context_length: 64 }, 'tiny.json')
  const steps = { steps: 2, batchSize: 2, sequenceLength: 32, warmupSteps: 1, checkpointSteps: 2 }
  const rest = { packing: true, minCharacters: 0, minTokens: 0, maxLearningRate: 3e-3, seed: 1 }
  const losses = []
  let checkpoint
  const out = join(scratch, 'trained')
  for await (const step of train({ config, tokenizer, data: [data], out, ...steps, ...rest })) {
    losses.push(step.loss)
    checkpoint = step.checkpoint ?? checkpoint
  }
  return { losses, text: await textOf(checkpoint) }
}

async function convert() {
  const nano = join(dist, '..', 'models', 'openelm-nano')
  const q4 = join(scratch, 'q4')
  await quantize(nano, q4, { dtype: 'q4' })
  const gguf = join(scratch, 'nano.gguf')
  await checkpointToGguf(nano, gguf)
  return { text: await textOf(q4), gguf: hash(readFileSync(gguf)) }
}

async function textOf(directory) {
  const other = await OpenELM.load(directory, { backend: 'cpu' })
  const generated = await other.generate('The', drawn)
  await other.dispose()
  return generated.text
}

function hash(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}
