// A conversation. Run: node examples/chat.mjs [model]
import { OpenELM } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const chat = model.createChat({
  messages: [{ role: 'system', content: 'Answer in one sentence.' }],
})

for (const question of ['Who are you?', 'And where do you live?']) {
  console.log(`> ${question}`)
  const stream = chat.stream(question, { maxTokens: 40, temperature: 0.8, topP: 0.9, seed: 1 })
  for await (const { text } of stream) process.stdout.write(text)
  const { usage } = await stream.result
  const computed = usage.promptTokens - usage.cachedTokens
  console.log(`\n[computed ${computed} of ${usage.promptTokens} tokens]`)
}

chat.dispose()
await model.dispose()
