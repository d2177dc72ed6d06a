// Sorts what the teacher told into what is learnt from: node choose-stories.mjs TOLD... OUT. Writes
// OUT/corpus.jsonl to learn the language from, OUT/instructions.jsonl with stories that answer what is
// asked, OUT/stories.jsonl with others, so that the language is not forgotten meanwhile, and
// OUT/tokenizer.json, which is learnt from stories and questions.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { trainTokenizer } from '../../dist/train/index.js'
import { numbers } from './openings.mjs'
import { countNamed, question, stammers } from './questions.mjs'
import { isWorthReading, readRows, writeRows } from './rows.mjs'

const told = process.argv.slice(2)
const out = told.pop()
const vocabSize = 2048

const stories = told.flatMap(readRows).filter(isWorthReading)
const corpus = stories.map(({ opening, text }) => opening + text)
const instructions = stories.filter(isAnswer).map(instruction)

mkdirSync(out, { recursive: true })
writeRows(
  join(out, 'corpus.jsonl'),
  corpus.map(text => ({ text })),
)
writeRows(join(out, 'instructions.jsonl'), conversations(instructions))
const others = stories.filter(story => !isAnswer(story)).slice(0, instructions.length / 3)
writeRows(
  join(out, 'stories.jsonl'),
  others.map(({ opening, text }) => ({ text: opening + text })),
)
const marks = instructions.map(
  ({ messages: [asked] }) => `<|system|>\n\n<|user|>\n${asked.content}\n<|assistant|>\n`,
)
const tokenizer = await trainTokenizer([...corpus, ...marks], vocabSize)
writeFileSync(join(out, 'tokenizer.json'), JSON.stringify(tokenizer))
const bytes = corpus.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
console.log(
  `${corpus.length} stories, ${(bytes / 1e6).toFixed(1)} MB, ${instructions.length} of them answers`,
)

/**
 * Whether a story goes on about the animal and the thing that its opening names: it names both again, the
 * animal by its kind or by its name.
 */
function isAnswer({ opening, things, text }) {
  const [animal, thing] = things
  if (animal === undefined || stammers(text)) return false
  const name = /named (\w+)|^(\w+) was/.exec(opening)
  const names = name === null ? [animal] : [animal, name[1] ?? name[2]]
  return names.some(each => countNamed(text, each) > 0) && countNamed(text, thing) > 0
}

/** Of four conversations two become one of two questions. */
function conversations(rows) {
  return rows.flatMap((row, i) => {
    if (i % 4 === 3) return []
    const next = i % 4 === 2 ? (rows[i + 1]?.messages ?? []) : []
    return [{ messages: [...row.messages, ...next] }]
  })
}

/** A conversation that asks for the story, by two of its things or by all, in any order. */
function instruction({ index, opening, things, text }) {
  const random = numbers(`question ${index}`)
  const asked = random(3) === 0 ? things.slice(0, 2) : [...things]
  if (random(2) === 0) asked.unshift(asked.splice(1 + random(asked.length - 1), 1)[0])
  return {
    messages: [
      { role: 'user', content: question(asked, random) },
      { role: 'assistant', content: opening + text },
    ],
  }
}
