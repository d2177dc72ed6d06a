// Ends a generation from outside. Run: node examples/stream-abort.mjs [model]
import { OpenELM } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const controller = new AbortController()
const options = { maxTokens: 400, ignoreEos: true, signal: controller.signal }

let tokens = 0
try {
  for await (const { text } of model.stream('Once upon a time, there was', options)) {
    process.stdout.write(text)
    tokens++
    // A user who leaves, a time limit, a server that is shut down: all abort the signal.
    if (tokens === 20) controller.abort(new Error('the reader has left'))
  }
} catch (error) {
  console.log(`\n[ended after ${tokens} tokens: ${error.message}]`)
}

// The model can be used on, and the memory of the generation is given back.
const { text } = await model.generate('In the morning', { maxTokens: 10 })
console.log(`In the morning${text}`)
await model.dispose()
