import { ExampleChooser } from './few-shot.js'
import { PythonRandom } from './python-random.js'
import type { Row } from './row.js'
import type { Question, Task } from './task.js'

/** What a model is asked: how likely a text is after another. */
export interface Request {
  readonly context: string
  readonly continuation: string
}

/** A document as it is scored. */
export interface Document {
  /** Its place in the split, from 0; of a task that is shuffled, its place after that. */
  readonly id: number
  readonly row: Row
  readonly question: Question
  /** One for each choice. */
  readonly requests: readonly Request[]
}

interface DocumentsOptions {
  readonly numFewshot: number
  /** Rows that examples are chosen from: as many as {@link examplesNeeded} or more. */
  readonly pool: readonly Row[]
  /** How many documents, from the first on. */
  readonly limit?: number | undefined
}

/**
 * Makes requests of the documents of a task:
 *
 *     context      = description + examples + text of the document
 *     continuation = delimiter + choice
 *
 * An example is a document with its correct choice, and two newlines follow each.
 */
export function* documentsOf(
  task: Task,
  rows: readonly Row[],
  { numFewshot, pool, limit }: DocumentsOptions,
): Generator<Document, void> {
  const { description = '', delimiter, fewShot, shuffleSeed } = task
  const ordered = shuffleSeed === undefined ? rows : new PythonRandom(shuffleSeed).shuffle(rows)
  const chooser = fewShot && new ExampleChooser(pool, numFewshot, fewShot)
  for (const [id, row] of ordered.slice(0, limit).entries()) {
    const question = task.question(row)
    const examples = chooser?.next(row).map(example => solve(task, task.question(example))) ?? []
    const front = description + examples.map(example => `${example}\n\n`).join('')
    const requests = question.continuations.map((continuation, choice) => ({
      context: front + contextOf(question, choice),
      continuation: delimiter + continuation,
    }))
    yield { id, row, question, requests }
  }
}

function solve({ delimiter }: Task, question: Question): string {
  const { gold, continuations } = question
  return contextOf(question, gold) + delimiter + continuations[gold]
}

function contextOf({ contexts }: Question, choice: number): string {
  return contexts[choice] ?? contexts[0]!
}
