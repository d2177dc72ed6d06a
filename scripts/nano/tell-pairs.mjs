// Lets a model answer questions and pairs its answers: node tell-pairs.mjs MODEL QUESTIONS OUT. The better
// answer names every thing that was asked for, the worse one does not; questions whose answers are all
// of one kind give no pair.
import { OpenELM } from '../../dist/index.js'
import { askAll, isComplete } from './answers.mjs'
import { numbers, things } from './openings.mjs'
import { question, stammers } from './questions.mjs'
import { writeRows } from './rows.mjs'

const [directory, questions, out] = process.argv.slice(2)
const answersEach = 4

const model = await OpenELM.load(directory, { backend: 'cpu', threads: 1 })
const asked = Array.from({ length: Number(questions) }, (_, index) => {
  const random = numbers(`pair ${index}`)
  const about = things(random)
  return { about, content: question(about, random) }
})
const drawn = asked.flatMap((each, index) =>
  Array.from({ length: answersEach }, (_, k) => ({ ...each, seed: index * answersEach + k })),
)
const answers = await askAll(model, drawn)
await model.dispose()

const pairs = asked.flatMap(({ about, content }, index) => {
  const told = answers.slice(index * answersEach, (index + 1) * answersEach)
  const best = told.find(answer => isGood(answer, about))
  const worst = told.find(answer => !isComplete(answer.text, about))
  if (best === undefined || worst === undefined) return []
  const messages = text => [
    { role: 'user', content },
    { role: 'assistant', content: text },
  ]
  return [{ chosen: messages(best.text), rejected: messages(worst.text) }]
})
writeRows(out, pairs)
console.log(`${pairs.length} pairs of ${asked.length} questions`)

function isGood({ text, isEnded }, about) {
  return isEnded && isComplete(text, about) && !stammers(text)
}
