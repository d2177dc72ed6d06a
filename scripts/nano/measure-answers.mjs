// Asks for stories about three things that no story was told about: node measure-answers.mjs TEACHER
// MODEL [ADAPTER]. Prints the share of the things that 200 answers name, the share of answers that name
// all three, and the teacher's bits per byte of the answers.
import { OpenELM } from '../../dist/index.js'
import { askAll, isComplete } from './answers.mjs'
import { numbers, unseenThings } from './openings.mjs'
import { countNamed, question } from './questions.mjs'

const [teacher, directory, ...adapters] = process.argv.slice(2)
const count = 200

const model = await OpenELM.load(directory, { backend: 'cpu', dtype: 'float32', adapters })
const asked = Array.from({ length: count }, (_, seed) => {
  const random = numbers(`unseen ${seed}`)
  const about = unseenThings(random)
  return { about, content: question(about, random), seed }
})
const answers = await askAll(model, asked)
await model.dispose()

const judge = await OpenELM.load(teacher, { backend: 'cpu', dtype: 'float32' })
let named = 0
let complete = 0
let logprob = 0
let bytes = 0
for (const [i, { about }] of asked.entries()) {
  const { text } = answers[i]
  named += about.filter(thing => countNamed(text, thing) > 0).length
  if (isComplete(text, about)) complete++
  const tokens = judge.tokenizer.encode(text).slice(0, judge.contextLength)
  const read = judge.tokenizer.decode(tokens)
  for (const score of await judge.scores(tokens)) logprob += score.logprob
  bytes += Buffer.byteLength(read)
}
await judge.dispose()
const percent = part => `${(100 * part).toFixed(1)}%`
console.log(
  `${percent(named / (3 * count))} of the things, all three in ${percent(complete / count)} of the answers, ` +
    `${(-logprob / Math.LN2 / bytes).toFixed(4)} bits per byte by the teacher`,
)
