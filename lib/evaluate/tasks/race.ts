import { parsePythonLiteral } from '../python-literal.js'
import { isRecord, Row } from '../row.js'
import type { Task } from '../task.js'

const letters = ['A', 'B', 'C', 'D']

/** A document is an article with its problems. The last one is asked, those before it are answered. */
export const race: Task = {
  name: 'race',
  version: 2,
  data: { repository: 'EleutherAI/race', config: 'high', filePrefix: 'race_high_' },
  split: 'test',
  numDocuments: 1045,
  fewShot: { split: 'test', choice: 'drawn' },
  delimiter: ' ',
  metrics: ['acc'],
  question(row) {
    const problems = readProblems(row)
    const last = problems.at(-1)!
    const solved = problems.slice(0, -1).map(solve).join('')
    return {
      contexts: [`Article: ${row.text('article')}\n\n${solved}${last.question}`],
      continuations: last.options,
      gold: last.answer,
    }
  },
}

interface Problem {
  readonly question: string
  readonly options: readonly string[]
  readonly answer: number
}

/** Of a question that ends in a gap only the gap is kept: a defect of the harness at this version. */
function solve({ question, options, answer }: Problem): string {
  return question.endsWith('  _  .')
    ? `${question.slice(-5)}${options[answer]}\n`
    : `Question: ${question}\nAnswer: ${options[answer]}\n`
}

function readProblems(row: Row): Problem[] {
  const text = row.text('problems')
  const expected = 'a list of problems, written in Python'
  let list: unknown
  try {
    list = parsePythonLiteral(text)
  } catch (error) {
    row.fail('problems', `${expected} (${(error as Error).message})`, text)
  }
  if (!Array.isArray(list) || list.length === 0 || !list.every(isRecord)) {
    row.fail('problems', expected, text)
  }
  return list.map((values, i) => {
    const problem = new Row(values, `${row.place}, problem ${i + 1}`)
    const answer = letters.indexOf(problem.text('answer'))
    if (answer < 0) problem.fail('answer', 'one of A, B, C, D', values.answer)
    return { question: problem.text('question'), options: problem.texts('options', 4), answer }
  })
}
