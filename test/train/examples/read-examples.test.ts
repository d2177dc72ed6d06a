import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readExamples } from '../../../lib/train/examples/read-examples.js'
import { describeExamples, warningOf } from '../../../lib/train/examples/summary.js'
import { exampleOf, examplesOf, llama, rowsFile } from '../../helpers/examples.js'

const scratch = t.testdir()
const options = { sequenceLength: 1024 }

const turns = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello!' },
]
const chat = { messages: turns }
const completion = { prompt: 'a', completion: ' b' }
const preference = { chosen: turns, rejected: [turns[0], { role: 'assistant', content: 'No.' }] }

t.test('ShareGPT rows are conversations', async t => {
  const conversations = [
    { from: 'system', value: 'Be brief.' },
    { from: 'human', value: 'Hi' },
    { from: 'gpt', value: 'Hello!' },
  ]
  const messages = [{ role: 'system', content: 'Be brief.' }, ...turns]
  t.same(await exampleOf(scratch, { conversations }), await exampleOf(scratch, { messages }))
})

t.test(
  'content in parts of text, null for what a table lacks, columns that are not needed',
  async t => {
    const parts = [turns[0], { role: 'assistant', content: [{ type: 'text', text: 'Hello!' }] }]
    const expected = await exampleOf(scratch, chat)
    t.same(await exampleOf(scratch, { messages: parts, id: 7, tools: [], images: null }), expected)
    t.same(await exampleOf(scratch, { ...chat, chosen: null, rejected: null }), expected)
    const instruction = { instruction: 'Hi', input: null, system: null, output: 'Hello!' }
    t.same(await exampleOf(scratch, { ...instruction, history: [], answer: 'x' }), expected)
  },
)

t.test('a row of several formats: preferences come first, but for sft', async t => {
  const row = { ...preference, ...chat, prompt: 'Hi' }
  t.equal((await examplesOf(scratch, [row])).objective, 'dpo')
  const tuned = await examplesOf(scratch, [row], { objective: 'sft' })
  t.equal(tuned.objective, 'sft')
  t.same(tuned.rows.at(0)[0], await exampleOf(scratch, chat))
  const chosen = await examplesOf(scratch, [preference], { objective: 'sft' })
  t.same(chosen.rows.at(0)[0], await exampleOf(scratch, chat), 'what is preferred is learnt')
  const named = await examplesOf(scratch, [{ ...completion, text: 'c' }], { format: 'text' })
  t.same([...named.rows.at(0)[0].tokens], [...llama.encode('c'), 2])
})

t.test('files of lines and files of one list hold the same', async t => {
  const lines = readFileSync(rowsFile('instructions.jsonl'), 'utf8').split('\n').slice(0, 8)
  const file = join(scratch, 'eight.jsonl')
  writeFileSync(file, `\uFEFF${lines.join('\r\n\r\n')}`)
  const ofLines = await readExamples([file], llama, options)
  const ofList = await readExamples([rowsFile('instructions.json')], llama, options)
  t.same(ofLines.summary, ofList.summary)
  t.equal(ofLines.sha256, ofList.sha256)
  t.equal(ofLines.rows.length, 8)
  const both = await readExamples([file, rowsFile('instructions.json')], llama, options)
  t.equal(both.rows.length, 16)
  t.same(both.rows.at(8), both.rows.at(0))
  t.not(both.sha256, ofList.sha256)
})

t.test('what is no row names the file and the row', async t => {
  const image = { type: 'image_url', image_url: 'x' }
  const broken: [rows: unknown[], message: RegExp][] = [
    [[{ question: 'a', answer: 'b' }], /row 1: expected the columns to be .*"question, answer"/],
    [[chat, completion], /row 2: expected the columns to be messages, .*"prompt, completion"/],
    [[chat, 7], /row 2: expected a JSON object, received 7/],
    [[chat, { messages: 'Hi' }], /row 2: expected messages to be an array/],
    [[{ messages: turns.slice(0, 1) }], /row 1: expected messages to be .*an answer/],
    [
      [{ messages: [{ role: 'tool', content: 'a' }] }],
      /row 1: expected messages\[0\]\.role to be one of system, user, assistant, received "tool"/,
    ],
    [
      [{ messages: [turns[0], { role: 'assistant', content: [image] }] }],
      /row 1: expected messages\[1\]\.content\[0\]\.type to be "text", received "image_url"/,
    ],
    [
      [{ messages: [turns[0], { role: 'assistant', content: 'a', tool_calls: [{}] }] }],
      /row 1: expected messages\[1\]\.tool_calls to be absent/,
    ],
    [[{ ...chat, tools: [{}] }], /row 1: expected tools to be absent/],
    [[{ ...chat, images: ['a.png'] }], /row 1: expected images to be absent/],
    [
      [{ messages: [turns[0], { role: 'assistant', content: '' }] }],
      /row 1: expected the answer to be a text that is not empty/,
    ],
    [[completion, { prompt: 'a', completion: '' }], /row 2: expected the answer/],
    [[{ instruction: 'a', output: '' }], /row 1: expected the answer/],
    [[{ text: '' }], /row 1: expected the answer/],
    [
      [{ conversations: [{ from: 'bing', value: 'a' }] }],
      /row 1: expected conversations\[0\]\.from to be one of system, human, gpt/,
    ],
    [
      [{ conversations: [{ role: 'user', content: 'a' }] }],
      /row 1: expected conversations\[0\]\.from to be one of system, human, gpt, .*undefined/,
    ],
    [[{ prompt: 'a', completion: [turns[1]] }], /row 1: expected completion to be a string/],
    [[{ instruction: 'a', input: 7, output: 'b' }], /row 1: expected input to be a string/],
  ]
  for (const [rows, message] of broken) {
    await t.rejects(examplesOf(scratch, rows), { code: 'INVALID_DATA', message })
  }
  await t.rejects(examplesOf(scratch, [chat], { format: 'alpaca' }), {
    message: /\.jsonl: row 1: expected the columns to be instruction and output, of .* alpaca/,
  })
  await t.rejects(examplesOf(scratch, [chat], { objective: 'dpo' }), {
    message: /\.jsonl: row 1: expected the columns to be those of rows for dpo/,
  })
})

t.test('a file that was cut off, or is of another kind', async t => {
  const file = join(scratch, 'cut.jsonl')
  const line = `${JSON.stringify(chat)}\n`
  writeFileSync(file, line + line + line)
  truncateSync(file, 2.5 * line.length)
  await t.rejects(readExamples([file], llama, options), {
    code: 'INVALID_DATA',
    message: `${file}: row 3: malformed JSON`,
  })
  const files: [name: string, content: string, message: RegExp][] = [
    ['cut.json', `[${line}, ${line.slice(0, 20)}`, /cut\.json: row 2: malformed JSON/],
    ['lines.json', line, /lines\.json: expected a list/],
    ['empty.jsonl', '', /empty\.jsonl: the file is empty/],
    ['blank.jsonl', '\n \n', /no row of which anything is left/],
    ['list.jsonl', `[${line.trim()}]`, /list\.jsonl: row 1: expected a JSON object/],
    ['rows.csv', 'a,b', /rows\.csv: expected JSON objects in lines \(\.jsonl\)/],
    ['late.jsonl', `${line}\n\n{`, /late\.jsonl: row 4: malformed JSON/],
  ]
  for (const [name, content, message] of files) {
    const other = join(scratch, name)
    writeFileSync(other, content)
    await t.rejects(readExamples([other], llama, options), { code: 'INVALID_DATA', message })
  }
  await t.rejects(readExamples([join(scratch, 'none.jsonl')], llama, options), { code: 'IO_ERROR' })
})

t.test('files that do not go together', async t => {
  const file = join(scratch, 'chat.jsonl')
  writeFileSync(file, JSON.stringify(chat))
  const read = (other: unknown, given = {}) => {
    const second = join(scratch, 'second.jsonl')
    writeFileSync(second, JSON.stringify(other))
    return readExamples([file, second], llama, { ...options, ...given })
  }
  await t.rejects(read(preference), {
    message: /second\.jsonl: row 1: expected the columns to be those of rows for sft/,
  })
  await t.rejects(read(completion), {
    message: /second\.jsonl: row 1: expected options\.template to be given/,
  })
  t.equal((await read(completion, { template: 'zephyr' })).rows.length, 2)
  t.equal((await read(preference, { objective: 'sft' })).rows.length, 2)
  t.equal((await read({ text: 'a' })).template, 'zephyr', 'plain text needs none')
})

t.test('what is printed of the rows, and when to worry', async t => {
  const long = { prompt: 'one two three', completion: ' four five six' }
  const lost = { prompt: 'one two three four five six', completion: ' seven' }
  const rows = [long, lost, ...new Array(18).fill(completion)]
  const { summary } = await examplesOf(scratch, rows, { sequenceLength: 6 })
  t.equal(
    describeExamples(summary),
    '20 rows, 38 of 78 tokens learnt, 1 truncated (5%), 1 dropped, as nothing to learn fits',
  )
  t.equal(warningOf(summary), undefined, 'a tenth')
  const worse = await examplesOf(scratch, [...rows, long], { sequenceLength: 6 })
  t.match(warningOf(worse.summary), /^14\.3% of the rows are longer/)
})

t.test('reading ends when it is aborted', async t => {
  const signal = AbortSignal.abort(new Error('enough'))
  const rows = new Array(20000).fill(chat)
  const file = join(scratch, 'many.jsonl')
  writeFileSync(file, rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  await t.rejects(readExamples([file], llama, options, signal), { message: 'enough' })
})
