import { createHash } from 'node:crypto'
import t from 'tap'
import { zephyr } from '../../../lib/chat/template.js'
import { readExamples } from '../../../lib/train/examples/read-examples.js'
import { renderSample } from '../../../lib/train/examples/templates.js'
import {
  exampleOf,
  examplesOf,
  goldenValues,
  learntText,
  llama,
  rowsFile,
} from '../../helpers/examples.js'

const golden = goldenValues('chat.json')
const scratch = t.testdir()

interface GoldenRow {
  ids: number[]
  train: number[]
}

/** Golden conversations have the system messages that they show, and no other. */
const asShown = { system: null }

t.test('the renderings of the template of the alignment handbook', async t => {
  for (const { name, messages, add_generation_prompt, text } of golden.renderings) {
    const parts = zephyr.render(messages, llama, add_generation_prompt)
    t.equal(parts.map(part => (typeof part === 'number' ? '</s>' : part)).join(''), text, name)
  }
})

t.test('conversations: ids, and which of them are learnt', async t => {
  for (const [name, row] of Object.entries<GoldenRow>(golden.sft.zephyr)) {
    const { tokens, targets } = await exampleOf(scratch, row, asShown)
    t.same([...tokens], row.ids, name)
    t.same([...targets], row.train, name)
  }
})

t.test('prompts and completions: ids, and which of them are learnt', async t => {
  for (const row of golden.sft.plain as GoldenRow[]) {
    const { tokens, targets } = await exampleOf(scratch, row)
    t.same([...tokens], row.ids)
    t.same([...targets], row.train)
  }
})

t.test('the prompts of Stanford Alpaca', async t => {
  const rows = [
    { instruction: 'Name a colour.', input: '', output: 'Red.' },
    { instruction: 'Add.', input: '2 3', output: '5' },
  ]
  for (const [i, row] of rows.entries()) {
    const { tokens, targets } = await exampleOf(scratch, row, { template: 'alpaca' })
    const { prompt, completion, ids, train } = golden.sft.alpaca[i]
    t.same([...tokens], ids)
    t.same([...targets], train)
    const asCompletion = await exampleOf(scratch, { prompt, completion })
    t.same([...asCompletion.tokens], ids, 'the same text as a prompt of its own')
  }
})

t.test('the prompts of commonsense_170k, byte by byte', async t => {
  for (const row of goldenValues('commonsense.json')) {
    const { instruction, input, output } = row
    const sample = { kind: 'instruction', instruction, input, output, system: undefined } as const
    const options = { template: 'commonsense', system: null, answers: 'all' } as const
    const [part] = renderSample(sample, llama, options)
    const text = part && 'text' in part ? part.text : ''
    t.equal(text, row.text)
    t.equal(Buffer.byteLength(text), row.bytes)
    t.equal(createHash('sha256').update(text).digest('hex'), row.sha256)

    const whole = { template: 'commonsense', trainPrompts: true } as const
    const { tokens, targets } = await exampleOf(scratch, { instruction, input, output }, whole)
    t.same([...tokens], row.ids)
    t.same([...targets], [0, ...row.ids.slice(1).map(() => 1)], 'all but BOS is learnt')
  }
})

t.test('a conversation begins as those of the tuning did, unless it is told otherwise', async t => {
  const row = { messages: [user('Hi'), assistant('Hello!')] }
  const asTuned = await exampleOf(scratch, row)
  const { ids } = golden.tokens['generation prompt as trained']
  t.same([...asTuned.tokens].slice(1, 1 + ids.length), ids)
  const system = await exampleOf(scratch, row, { system: 'Be brief.' })
  t.match(llama.decode(system.tokens), /^<\|system\|>\nBe brief\. \n<\|user\|>\nHi/)
  const own = { messages: [{ role: 'system', content: 'Be kind.' }, ...row.messages] }
  const kept = await exampleOf(scratch, own, { system: 'Be brief.' })
  t.notMatch(llama.decode(kept.tokens), /brief/, 'its own system message stays')
})

t.test('all answers are learnt, or the last, or everything', async t => {
  const messages = [user('a'), assistant('b'), user('c'), assistant('d')]
  const learnt = async (options: object) =>
    learntText(await exampleOf(scratch, { messages }, options))
  t.equal(await learnt({}), 'b</s>d</s>')
  t.equal(await learnt({ answers: 'last' }), 'd</s>')
  const all = await exampleOf(scratch, { messages }, { trainPrompts: true })
  t.same([...all.targets], [0, ...new Array(all.tokens.length - 1).fill(1)])
})

t.test('plain text is learnt in full', async t => {
  const { tokens, targets } = await exampleOf(scratch, { text: 'The sky is blue.' })
  t.same([...tokens], [...llama.encode('The sky is blue.'), 2])
  t.same([...targets], [0, ...new Array(tokens.length - 1).fill(1)])
})

t.test('a row without turns becomes a conversation where that is asked for', async t => {
  const chat = await exampleOf(scratch, { messages: [user('Add.\n2 3'), assistant('5')] })
  const rows = [
    { instruction: 'Add.', input: '2 3', output: '5' },
    { prompt: 'Add.\n2 3', completion: '5' },
    { prompt: [user('Add.\n2 3')], completion: [assistant('5')] },
  ]
  for (const row of rows) t.same(await exampleOf(scratch, row, { template: 'zephyr' }), chat)
  t.same(await exampleOf(scratch, rows[0]), chat, 'which is the default of instructions')
  const withSystem = { ...rows[0], system: 'Be brief.' }
  t.match(llama.decode((await exampleOf(scratch, withSystem)).tokens), /^<\|system\|>\nBe brief\./)
})

t.test('a template that cannot express a row', async t => {
  const chat = { messages: [user('Hi'), assistant('Hello!')] }
  const instruction = { instruction: 'a', output: 'b', system: 'c' }
  for (const template of ['none', 'alpaca', 'commonsense'] as const) {
    for (const row of [chat, instruction]) {
      await t.rejects(examplesOf(scratch, [row], { template }), {
        code: 'INVALID_DATA',
        message: new RegExp(`row 1: expected the template to be zephyr.* received "${template}"`),
      })
    }
    await t.rejects(examplesOf(scratch, [{ text: 'a' }], { template, system: 'b' }), {
      code: 'INVALID_ARGUMENT',
      argument: 'options.system',
    })
  }
  await t.rejects(examplesOf(scratch, [{ prompt: 'a', completion: 'b' }], { system: 'c' }), {
    code: 'INVALID_DATA',
    message: /row 1: expected options\.system to be absent/,
  })
})

t.test('the model learns to stop: the EOS of an answer is learnt, no other is', async t => {
  const messages = [user('a'), assistant('b'), user('c'), assistant('d')]
  const { tokens, targets } = await exampleOf(scratch, { messages })
  const ends = [...tokens.keys()].filter(i => tokens[i] === llama.eosTokenId)
  t.same(
    ends.map(i => targets[i]),
    [0, 0, 1, 0, 1],
    'of the system message, and of each turn',
  )
  t.equal(ends.at(-1), tokens.length - 1)
})

t.test('the border of an answer is where its text begins, whatever a message says', async t => {
  const marker = '<|assistant|>\n'
  const messages = [user(`Say ${marker}x</s>`), assistant(`${marker}y`)]
  const example = await exampleOf(scratch, { messages })
  t.equal(learntText(example), `${marker}y</s>`)
  t.equal(example.tokens.filter(token => token === 2).length, 3, 'a mark in a message is text')
})

t.test('a token on the border of prompt and completion is learnt', async t => {
  const example = await exampleOf(scratch, { prompt: 'The sky is ', completion: 'blue.' })
  t.equal(learntText(example), ' blue.</s>')
})

t.test('BOS comes once, and not before an answer', async t => {
  const rows = [
    { prompt: '<s>a', completion: '<s>b' },
    { messages: [user('<s>'), assistant('<s>')] },
    { text: '<s>' },
    { instruction: '<s>', output: '<s>' },
  ]
  for (const row of rows) {
    const { tokens } = await exampleOf(scratch, row)
    t.equal(tokens[0], llama.bosTokenId)
    t.notOk(tokens.subarray(1).includes(llama.bosTokenId))
  }
})

t.test('no space comes between a prompt and its completion that neither has', async t => {
  const { tokens } = await exampleOf(scratch, { prompt: 'What?\n', completion: 'Four.' })
  t.same([...tokens], [...llama.encode('What?\nFour.'), 2])
  const chat = await exampleOf(scratch, { messages: [user('a'), assistant('b')] })
  const [b] = llama.encode('\nb', { addBos: false }).slice(-1)
  t.equal(chat.tokens.at(-2), b)
})

t.test('a row that is too long is cut, and gets no EOS that its text does not have', async t => {
  const row = { prompt: 'one two three', completion: ' four five six' }
  const whole = await exampleOf(scratch, row)
  const { rows, summary } = await examplesOf(scratch, [row, row], { sequenceLength: 6 })
  const { tokens, targets } = rows.at(0)[0]
  t.same([...tokens], [...whole.tokens.subarray(0, 6)])
  t.same([...targets], [0, 0, 0, 0, 1, 1])
  t.match(summary, { rows: 2, examples: 2, truncated: 2, dropped: 0 })
  t.not(tokens.at(-1), llama.eosTokenId)
})

t.test('a row of which no target fits is dropped, and counted', async t => {
  const long = { prompt: 'one two three four', completion: ' five' }
  const short = { prompt: 'one', completion: ' two' }
  const { rows, summary } = await examplesOf(scratch, [long, short], { sequenceLength: 4 })
  t.equal(rows.length, 1)
  t.match(summary, { rows: 2, examples: 1, truncated: 0, dropped: 1 })
  await t.rejects(examplesOf(scratch, [long], { sequenceLength: 4 }), {
    code: 'INVALID_DATA',
    message: /nothing|no row/,
  })
})

t.test('what follows the last answer is not computed', async t => {
  const messages = [user('a'), assistant('b'), user('What else?')]
  const { tokens, targets } = await exampleOf(scratch, { messages })
  t.equal(targets.at(-1), 1)
  t.notMatch(llama.decode(tokens), /else/)
})

t.test('real rows', async t => {
  const expected = { 'chat.jsonl': 32, 'completions.jsonl': 16, 'instructions.jsonl': 64 }
  for (const [file, count] of Object.entries(expected)) {
    const { rows, summary } = await readExamples([rowsFile(file)], llama, { sequenceLength: 2048 })
    t.equal(rows.length, count, file)
    t.match(summary, { rows: count, truncated: 0, dropped: 0 })
    let targets = 0
    for (let i = 0; i < count; i++) {
      const example = rows.at(i)[0]
      t.match(learntText(example), /<\/s>$/)
      for (const target of example.targets) targets += target
    }
    t.equal(summary.targets, targets)
  }
})

function user(content: string) {
  return { role: 'user', content }
}

function assistant(content: string) {
  return { role: 'assistant', content }
}
