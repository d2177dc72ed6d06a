// Lets a teacher tell stories, one a line: node tell-stories.mjs TEACHER FROM TO OUT. Story number n has
// opening n and seed n, so that the stories do not depend on how many are told at a time.
import { createWriteStream, renameSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import { OpenELM } from '../../dist/index.js'
import { opening } from './openings.mjs'

const [teacher, from, to, out] = process.argv.slice(2)
const atATime = 32

const model = await OpenELM.load(teacher, { backend: 'cpu', threads: 1 })
const file = createWriteStream(`${out}.part`)

/** Stories under way, the oldest first. */
const stories = []
for (let index = Number(from); index < Number(to); index++) {
  stories.push(tell(index))
  if (stories.length === atATime) await write(stories.shift())
}
for (const story of stories) await write(story)
file.end()
await finished(file)
renameSync(`${out}.part`, out)
await model.dispose()

/** A story that ends where the teacher would begin another; null where it does not end in time. */
async function tell(index) {
  const { opening: begun, things } = opening(index)
  const { text, finishReason } = await model.generate(begun, {
    temperature: 0.8,
    minP: 0.05,
    seed: index,
    maxTokens: 440,
    stopTokens: [model.tokenizer.bosTokenId],
  })
  return finishReason === 'stop' ? { index, opening: begun, things, text: text.trimEnd() } : null
}

async function write(story) {
  const told = await story
  if (told !== null) file.write(`${JSON.stringify(told)}\n`)
}
