// A conversation. Run: node examples/chat.mjs [model]
import { OpenELM } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const chat = model.createChat()
const questions = [
  'Tell me a story about a cat and a boat.',
  'Tell me a story about a dog and a red ball.',
]

for (const question of questions) {
  console.log(`> ${question}`)
  const stream = chat.stream(question, { temperature: 0.8, minP: 0.1, seed: 1 })
  for await (const { text } of stream) process.stdout.write(text)
  const { usage } = await stream.result
  const computed = usage.promptTokens - usage.cachedTokens
  console.log(`\n[computed ${computed} of ${usage.promptTokens} tokens]`)
}

chat.dispose()
await model.dispose()
