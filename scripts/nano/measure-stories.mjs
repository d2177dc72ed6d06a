// Prints the bits per byte of whole stories, and of what comes after the openings that the teacher was
// given: node measure-stories.mjs STORIES MODEL DTYPE.
import { OpenELM } from '../../dist/index.js'
import { isWorthReading, readRows } from './rows.mjs'

const [file, directory, dtype] = process.argv.slice(2)
const count = 500

const stories = readRows(file).filter(isWorthReading).slice(0, count)
if (stories.length < count) throw new Error(`${file} has ${stories.length} stories, not ${count}`)
const model = await OpenELM.load(directory, { backend: 'cpu', dtype })
const whole = { nats: 0, bytes: 0 }
const told = { nats: 0, bytes: 0 }
for (const { opening, text } of stories) {
  const scores = await model.scores(model.tokenizer.encode(opening + text))
  whole.nats -= scores.reduce((sum, { logprob }) => sum + logprob, 0)
  whole.bytes += Buffer.byteLength(opening + text)
  told.nats -= (await model.score(opening, text)).logprob
  told.bytes += Buffer.byteLength(text)
}
await model.dispose()
const bitsPerByte = ({ nats, bytes }) => (nats / Math.LN2 / bytes).toFixed(4)
console.log(`${bitsPerByte(whole)}; after the opening ${bitsPerByte(told)}`)
