import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { findFiles, readRows } from '../../lib/evaluate/data-files.js'
import { evaluate } from '../../lib/evaluate/index.js'
import { taskNamed, tasks } from '../../lib/evaluate/tasks.js'
import { OpenELM } from '../../lib/model.js'

const row = {
  id: 'a',
  question: 'Why?',
  choices: { text: ['x', 'y'], label: ['A', 'B'] },
  answerKey: 'B',
}
const line = `${JSON.stringify(row)}\n`

function write(folder: string, name: string, content: string | Uint8Array): string {
  const file = join(folder, name)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  return file
}

t.test('files of the hub, and of tasks', async t => {
  const places: [task: string, file: string][] = [
    ['arc_easy', 'arc_easy/test.jsonl'],
    ['arc_easy', 'arc_easy.test.jsonl'],
    ['arc_easy', 'ai2_arc/ARC-Easy/test-00000-of-00001.parquet'],
    ['arc_easy', 'allenai/ai2_arc/ARC-Easy/test/0000.parquet'],
    ['hellaswag', 'hellaswag/data/validation-00000-of-00001.parquet'],
    ['piqa', 'piqa/piqa_validation.parquet'],
    ['race', 'EleutherAI/race/race_high_test.jsonl'],
    ['winogrande', 'winogrande/winogrande_xl/validation-00000-of-00001.parquet'],
    ['truthfulqa_mc2', 'truthful_qa/multiple_choice/validation-00000-of-00001.parquet'],
    ['mmlu_anatomy', 'mmlu/anatomy/test-00000-of-00001.parquet'],
    ['mmlu_anatomy', 'cais/mmlu/all/test-00000-of-00001.parquet'],
    ['llm_adapters_arc_easy', 'LLM-Adapters/dataset/ARC-Easy/test.json'],
  ]
  for (const [name, file] of places) {
    const folder = t.testdir()
    const task = taskNamed(name)
    write(folder, file, '')
    write(folder, join(dirname(file), 'train-00000-of-00001.parquet'), '')
    t.same(await findFiles(folder, task, task.split), [join(folder, file)], file)
  }
})

t.test('every task says what it lacks', async t => {
  const folder = t.testdir()
  for (const task of tasks) {
    const { repository } = task.data
    await t.rejects(readRows(folder, task, task.split), {
      code: 'IO_ERROR',
      message: new RegExp(`no ${task.split} split of ${task.name} in .*expected ${repository} of`),
    })
  }
})

t.test('rows of several files, in the order of their names', async t => {
  const folder = t.testdir()
  for (const i of [2, 0, 1]) {
    const text = line.replace('"a"', `"${i}"`)
    write(folder, `ai2_arc/ARC-Easy/test-0000${i}-of-00003.jsonl`, i === 1 ? text.trim() : text)
  }
  const rows = await readRows(folder, taskNamed('arc_easy'), 'test')
  t.same(
    rows.map(({ values }) => values.id),
    ['0', '1', '2'],
  )
})

t.test('rows of a subject among those of all', async t => {
  const folder = t.testdir()
  const rows = ['anatomy', 'virology', 'anatomy'].map(subject => ({ subject }))
  write(folder, 'mmlu/all/test.jsonl', rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  t.equal((await readRows(folder, taskNamed('mmlu_anatomy'), 'test')).length, 2)
  await t.rejects(readRows(folder, taskNamed('mmlu_sociology'), 'test'), { code: 'INVALID_DATA' })
})

t.test('Parquet files give what JSON lines give', async t => {
  const folder = t.testdir()
  const task = taskNamed('mmlu_anatomy')
  const bytes = readFileSync(join(import.meta.dirname, 'data/anatomy.parquet'))
  const place = 'cais/mmlu/anatomy/test-00000-of-00001.parquet'
  write(folder, place, bytes)
  const rows = await readRows(folder, task, 'test')
  t.strictSame(
    rows.map(({ values }) => ({ ...values })),
    [
      { question: 'Which bone?', choices: ['a', 'b', 'c', 'd'], answer: 3 },
      { question: 'Where is the é?', choices: ['w', 'x', 'y', 'z'], answer: 0 },
    ],
  )
  t.equal(task.question(rows[0]!).gold, 3)
  for (const length of [0, 3, 40, bytes.length - 5]) {
    write(folder, place, bytes.subarray(0, length))
    await t.rejects(readRows(folder, task, 'test'), {
      code: 'INVALID_DATA',
      message: /parquet: not a Parquet file that can be read/,
    })
  }
})

t.test('a list in JSON gives what its lines give', async t => {
  const folder = t.testdir()
  const task = taskNamed('arc_easy')
  const rows = ['a', '"]', '\\', '[{,', 'é\u2028', ''].map(id => ({ ...row, id }))
  for (const indent of [0, 2]) {
    write(folder, 'arc_easy/test.json', ` ${JSON.stringify(rows, null, indent)}\n`)
    const read = await readRows(folder, task, 'test')
    t.strictSame(
      read.map(({ values }) => values),
      rows,
    )
    t.match(read[5]!.place, /test\.json: row 6$/)
  }
})

t.test('what is wrong with data is said once, with the file and the row', async t => {
  const lineOf = (change: object) => `${JSON.stringify({ ...row, ...change })}\n`
  const parquet = readFileSync(join(import.meta.dirname, 'data/anatomy.parquet'))
  const noAnswer = { question: 'Why?', choices: ['a', 'b', 'c', 'd'] }
  const bad: [task: string, file: string, content: string | Uint8Array, message: RegExp][] = [
    [
      'arc_easy',
      'arc_easy.test.jsonl',
      line + lineOf({ question: undefined }),
      /arc_easy\.test\.jsonl: row 2: expected question to be a text, received undefined$/,
    ],
    [
      'arc_easy',
      'arc_easy.test.jsonl',
      line + line + lineOf({ answerKey: 'E' }),
      /arc_easy\.test\.jsonl: row 3: expected answerKey to be one of A, B, received "E"$/,
    ],
    [
      'mmlu_anatomy',
      'mmlu/anatomy/test.jsonl',
      `${JSON.stringify({ ...noAnswer, answer: 4 })}\n`,
      /test\.jsonl: row 1: expected answer to be an integer from 0 to 3, received 4$/,
    ],
    ['arc_easy', 'arc_easy.test.jsonl', '', /arc_easy\.test\.jsonl: no document of arc_easy$/],
    [
      'arc_easy',
      'arc_easy.test.jsonl',
      line + line.slice(0, -9),
      /arc_easy\.test\.jsonl: row 2: malformed JSON: [^\n]+$/,
    ],
    [
      'mmlu_anatomy',
      'mmlu/anatomy/test-00000-of-00001.parquet',
      parquet.subarray(0, -9),
      /test-00000-of-00001\.parquet: not a Parquet file that can be read: [^\n]+$/,
    ],
    ['arc_easy', 'x', '', /no test split of arc_easy in [^\n]+: expected allenai\/ai2_arc of/],
  ]
  await using model = await OpenELM.load('openelm-nano', { backend: 'cpu' })
  for (const [name, file, content, message] of bad) {
    const data = t.testdir()
    write(data, file, content)
    await t.rejects(evaluate(model, { tasks: [name], data }).next(), { message })
  }
  t.throws(() => evaluate(model, { tasks: ['arc_hard'], data: 'x' }), {
    code: 'INVALID_ARGUMENT',
    message: /^expected options\.tasks\[0\] to be one of zero-shot, [^\n]+, received "arc_hard"$/,
  })
})

t.test('files that are malformed', async t => {
  const bad: [name: string, content: string | Uint8Array, message: RegExp][] = [
    ['test.jsonl', line + line.slice(0, 40), /test\.jsonl: row 2: malformed JSON/],
    ['test.jsonl', `${line}\n${line}`, /test\.jsonl: row 2: malformed JSON/],
    ['test.jsonl', `${line}[]\n`, /test\.jsonl: row 2: expected a JSON object/],
    ['test.jsonl', '', /test\.jsonl: no document of arc_easy/],
    [
      'test.jsonl',
      Uint8Array.of(0x22, 0xff, 0x22),
      /test\.jsonl: row 1: malformed JSON: invalid UTF-8/,
    ],
    ['test.json', '{}', /test\.json: expected a list/],
    ['test.json', '', /test\.json: expected a list/],
    ['test.json', ' [] ', /test\.json: no document of arc_easy/],
    ['test.json', `[${line}, 7]`, /test\.json: row 2: expected a JSON object/],
    ['test.json', `[${line},]`, /test\.json: row 2: malformed JSON/],
    ['test.json', `[${line}${line}]`, /test\.json: row 1: malformed JSON/],
    ['test.json', `[${line}] 1`, /test\.json: malformed JSON behind the list/],
    ['test.json', `[${line}}`, /test\.json: malformed JSON behind the list/],
    ['test.json', `[${line},${line.slice(0, 40)}`, /test\.json: row 2: malformed JSON/],
    ['test.json', `[${line},{"id":"\\"`, /test\.json: row 2: malformed JSON/],
  ]
  for (const [name, content, message] of bad) {
    const folder = t.testdir()
    write(folder, join('arc_easy', name), content)
    await t.rejects(readRows(folder, taskNamed('arc_easy'), 'test'), {
      code: 'INVALID_DATA',
      message,
    })
  }
})
