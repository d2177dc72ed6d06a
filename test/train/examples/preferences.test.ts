import t from 'tap'
import { readExamples } from '../../../lib/train/examples/read-examples.js'
import {
  exampleOf,
  examplesOf,
  goldenValues,
  learntText,
  llama,
  rowsFile,
} from '../../helpers/examples.js'

const scratch = t.testdir()
const { dpo_rows: golden } = goldenValues('chat.json')

const hi = { role: 'user', content: 'Hi' }
const hello = { role: 'assistant', content: 'Hello!' }
const away = { role: 'assistant', content: 'Go away.' }
const row = { chosen: [hi, hello], rejected: [hi, away] }

t.test('the rows of TRL 0.8.2, at four limits', async t => {
  for (const [name, expected] of Object.entries<Record<string, Record<string, number[]>>>(
    golden.rows,
  )) {
    const [sequenceLength, maxPromptLength] = name.split('_').slice(1).map(Number)
    const limits = { sequenceLength: sequenceLength!, maxPromptLength: maxPromptLength! }
    const { rows } = await examplesOf(scratch, [row], { ...limits, exact: true })
    for (const [i, side] of ['chosen', 'rejected'].entries()) {
      const { prompt, answer } = expected[side]!
      const { tokens, targets } = rows.at(0)[i]!
      t.same([...tokens], [...prompt!, ...answer!], `${name}, ${side}`)
      t.same([...targets], [...prompt!.map(() => 0), ...answer!.map(() => 1)])
    }
  }
})

t.test('by default an answer is what it is in supervised tuning', async t => {
  const { rows, objective, template, system } = await examplesOf(scratch, [row])
  t.same({ objective, template, system }, { objective: 'dpo', template: 'zephyr', system: '' })
  const [chosen, rejected] = rows.at(0)
  t.same(chosen, await exampleOf(scratch, { messages: row.chosen }))
  t.same(rejected, await exampleOf(scratch, { messages: row.rejected }))
  t.equal(learntText(chosen), 'Hello!</s>')
  const turns = [hi, hello, hi]
  const long = { chosen: [...turns, hello], rejected: [...turns, away] }
  const [last] = (await examplesOf(scratch, [long])).rows.at(0)
  t.equal(learntText(last), 'Hello!</s>', 'answers that both have are part of the prompt')
})

t.test('every shape of a preference', async t => {
  const expected = (await examplesOf(scratch, [row])).rows.at(0)
  const shapes = [
    { prompt: 'Hi', ...row },
    { prompt: [hi], ...row },
    { prompt: [hi], chosen: [hello], rejected: [away] },
  ]
  for (const shape of shapes) t.same((await examplesOf(scratch, [shape])).rows.at(0), expected)

  const texts = { prompt: 'Hi', chosen: ' Hello!', rejected: ' Go away.' }
  const ofTexts = await examplesOf(scratch, [texts])
  t.equal(ofTexts.template, 'none')
  t.same(ofTexts.rows.at(0)[0], await exampleOf(scratch, { prompt: 'Hi', completion: ' Hello!' }))
  const whole = { chosen: 'Hi Hello!', rejected: 'Hi Go away.' }
  t.equal(learntText((await examplesOf(scratch, [whole])).rows.at(0)[0]), ' Hello!</s>')

  const turns = '\n\nHuman: Hi\n\nAssistant:'
  const hh = { chosen: `${turns} I am.`, rejected: `${turns} I was.` }
  const [chosen, rejected] = (await examplesOf(scratch, [hh])).rows.at(0)
  t.equal(learntText(chosen), ' I am.</s>', 'the answer begins behind the last mark')
  t.equal(learntText(rejected!), ' I was.</s>')
})

t.test('texts that part in the middle of a character', async t => {
  const { rows } = await examplesOf(scratch, [{ chosen: 'a 🙂', rejected: 'a 🙃' }])
  t.equal(llama.decode(rows.at(0)[0].tokens), 'a 🙂')
  t.equal(llama.decode(rows.at(0)[1]!.tokens), 'a 🙃')
})

t.test('identical answers are dropped, and counted', async t => {
  const same = { chosen: [hi, hello], rejected: [hi, hello] }
  for (const exact of [true, false]) {
    const { rows, summary } = await examplesOf(scratch, [same, row, same], { exact })
    t.equal(rows.length, 1)
    t.match(summary, { rows: 3, examples: 1, identical: 2, dropped: 0, truncated: 0 })
  }
  await t.rejects(examplesOf(scratch, [same]), {
    code: 'INVALID_DATA',
    message: /no row .*1 dropped, as both answers are the same/,
  })
})

t.test('an answer can be empty: its end is learnt', async t => {
  const empty = { ...row, rejected: [hi, { role: 'assistant', content: '' }] }
  const { rows } = await examplesOf(scratch, [empty])
  t.equal(learntText(rows.at(0)[1]!), '</s>')
})

t.test('what is no preference', async t => {
  const other = { role: 'user', content: 'Ho' }
  const broken: [row: unknown, message: RegExp][] = [
    [{ ...row, rejected: [other, away] }, /rejected to be the same conversation as chosen but for/],
    [{ ...row, rejected: [hi, hello, hi, away] }, /rejected to be the same conversation/],
    [{ ...row, rejected: [hi] }, /rejected to be messages of which the last is an answer/],
    [{ chosen: [], rejected: [] }, /chosen to be messages of which the last is an answer/],
    [{ prompt: [hi, hello], ...row }, /chosen to be messages of which the last is an answer/],
    [{ ...row, rejected: 'Go away.' }, /rejected to be an array of messages/],
    [{ chosen: 'a', rejected: [away] }, /rejected to be a string/],
    [{ prompt: [hi], chosen: 'a', rejected: 'b' }, /prompt to be a string/],
    [{ chosen: 7, rejected: 8 }, /chosen to be an array of messages/],
  ]
  for (const [values, message] of broken) {
    await t.rejects(examplesOf(scratch, [row, values]), {
      code: 'INVALID_DATA',
      message: new RegExp(`\\.jsonl: row 2: expected ${message.source}`),
    })
  }
})

t.test('a prompt loses what must be lost, and never BOS or its answers', async t => {
  const words = 'one two three four five six seven eight nine ten'
  const long = { prompt: words, chosen: ' yes yes', rejected: ' no' }
  const whole = (await examplesOf(scratch, [long])).rows.at(0)
  const length = whole[0].tokens.length
  const limits = { sequenceLength: length - 3, maxPromptLength: 2 }
  const { rows, summary } = await examplesOf(scratch, [long], limits)
  t.match(summary, { examples: 1, truncated: 1 })
  for (const [i, { tokens, targets }] of rows.at(0).entries()) {
    const { tokens: all, targets: learnt } = whole[i]!
    t.same([...tokens], [1, ...all.subarray(4)], 'three tokens fewer, behind BOS')
    t.same([...targets], [0, ...learnt.subarray(4)])
  }

  const short = await examplesOf(scratch, [long], { sequenceLength: 5, maxPromptLength: 3 })
  const [chosen, rejected] = short.rows.at(0)
  t.same(
    [...chosen.tokens],
    [1, ...whole[0].tokens.subarray(9, 11), ...llama.encode('yes yes', { addBos: false })],
  )
  t.equal(learntText(chosen), ' yes yes', 'then the answer loses its end')
  t.equal(learntText(rejected!), ' no</s>')
})

t.test('a prompt must leave a place for answers', async t => {
  for (const exact of [true, false]) {
    await t.rejects(examplesOf(scratch, [row], { sequenceLength: 8, maxPromptLength: 8, exact }), {
      code: 'INVALID_ARGUMENT',
      argument: 'options.maxPromptLength',
    })
  }
})

t.test('answers that are the same as far as they fit teach nothing', async t => {
  const long = { prompt: 'a', chosen: ' one two three', rejected: ' one two four' }
  const tight = { sequenceLength: 4, maxPromptLength: 2 }
  const { summary } = await examplesOf(scratch, [long, { ...long, rejected: ' no' }], tight)
  t.match(summary, { examples: 1, identical: 1 })
})

t.test('the length of an answer is that of its targets, whatever the other one has', async t => {
  const { rows } = await examplesOf(scratch, [row])
  const lengths = rows.at(0).map(({ targets }) => targets.reduce((sum, target) => sum + target, 0))
  t.same(lengths, [3, 4], 'Hello, !, </s>; Go, away, ., </s>')
})

t.test('real rows', async t => {
  const files = { 'preferences.jsonl': 64, 'hh.jsonl': 5 }
  for (const [file, count] of Object.entries(files)) {
    const read = await readExamples([rowsFile(file)], llama, { sequenceLength: 1024 })
    t.equal(read.objective, 'dpo', file)
    t.equal(read.rows.length, count)
    for (let i = 0; i < count; i++) {
      const [chosen, rejected] = read.rows.at(i)
      const begin = Math.min(chosen.targets.indexOf(1), rejected!.targets.indexOf(1))
      t.same(chosen.tokens.subarray(0, begin), rejected!.tokens.subarray(0, begin))
      t.notSame(chosen.tokens, rejected!.tokens)
    }
  }
  const hh = await readExamples([rowsFile('hh.jsonl')], llama, { sequenceLength: 1024 })
  for (let i = 0; i < 5; i++) {
    const [{ tokens, targets }] = hh.rows.at(i)
    t.match(llama.decode(tokens.subarray(0, targets.indexOf(1))), /Assistant:$/)
  }
})
