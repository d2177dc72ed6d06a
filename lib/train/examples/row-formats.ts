import type { PlainMessage } from '../../chat/message.js'
import { invalidArgument } from '../../errors.js'
import { arrayOf, object, oneOf, optional } from '../../options.js'
import type { JsonObject } from '../../strict-json.js'
import { readPair } from './preference-rows.js'
import { isGiven, readConversation, text } from './row-rules.js'
import type { Sample, SamplePair } from './sample.js'

/** How the rows of a file say what there is to learn. */
export interface RowFormat {
  readonly name: string
  /** The columns that it is told by. */
  readonly columns: readonly string[]
  /**
   * @throws OpenELMError INVALID_ARGUMENT naming the column.
   */
  read(row: JsonObject): Sample | SamplePair
}

/** In the order in which a row is held against them. */
const formats = [
  {
    name: 'preference',
    columns: ['chosen', 'rejected'],
    read: readPair,
  },
  {
    name: 'messages',
    columns: ['messages'],
    read: ({ messages }) => conversation('messages', readConversation('messages', messages)),
  },
  {
    name: 'sharegpt',
    columns: ['conversations'],
    read: ({ conversations }) =>
      conversation('conversations', readTurns('conversations', conversations)),
  },
  {
    name: 'completion',
    columns: ['prompt', 'completion'],
    read: readCompletion,
  },
  {
    name: 'alpaca',
    columns: ['instruction', 'output'],
    read: ({ instruction, input, output, system }) => ({
      kind: 'instruction',
      instruction: text('instruction', instruction),
      input: optional(text, '')('input', input ?? undefined),
      output: text('output', output),
      system: optional(text)('system', system === '' ? undefined : (system ?? undefined)),
    }),
  },
  {
    name: 'text',
    columns: ['text'],
    read: row => ({ kind: 'text', text: text('text', row.text) }),
  },
] as const satisfies readonly RowFormat[]

export type FormatName = (typeof formats)[number]['name']

export const formatNames: readonly FormatName[] = formats.map(({ name }) => name)

/** Columns that hold what a model of text cannot be shown. */
const refusedColumns = ['tools', 'functions', 'images', 'image', 'videos', 'audios', 'audio']

/**
 * The format of a row: the one given, or the first whose columns it has. Where the objective is given as
 * sft, a conversation comes before a preference.
 *
 * @throws OpenELMError INVALID_ARGUMENT when it is of none.
 */
export function formatOf(
  row: JsonObject,
  { format, objective }: { format?: FormatName | undefined; objective?: string | undefined },
): RowFormat {
  const known: readonly RowFormat[] =
    objective === 'sft' ? [...formats.slice(1), formats[0]] : formats
  const found = known.find(({ name, columns }) =>
    format === undefined ? hasColumns(row, columns) : name === format,
  )
  if (found) return found
  const choices = formats.map(({ columns }) => columns.join(' and ')).join('; ')
  throw invalidArgument('the columns', `those of a format (${choices})`, namesOf(row))
}

/**
 * What a row says.
 *
 * @throws OpenELMError INVALID_ARGUMENT
 */
export function readRow(row: JsonObject, format: RowFormat): Sample | SamplePair {
  if (!hasColumns(row, format.columns)) {
    const expected = `${format.columns.join(' and ')}, of the format ${format.name}`
    throw invalidArgument('the columns', expected, namesOf(row))
  }
  const refused = refusedColumns.find(name => isGiven(row[name]))
  if (refused !== undefined) {
    throw invalidArgument(refused, 'absent: only text can be learnt', row[refused])
  }
  return format.read(row)
}

function hasColumns(row: JsonObject, columns: readonly string[]): boolean {
  return columns.every(name => (row[name] ?? undefined) !== undefined)
}

function namesOf(row: JsonObject): string {
  return Object.keys(row).join(', ')
}

function readCompletion({ prompt, completion }: JsonObject): Sample {
  if (typeof prompt === 'string') {
    return {
      kind: 'completion',
      prompt: text('prompt', prompt),
      completion: text('completion', completion),
    }
  }
  const asked = readConversation('prompt', prompt)
  const answer = readConversation('completion', completion)
  return conversation('completion', [...asked, ...answer])
}

/** A conversation, in which there must be something to learn. */
function conversation(name: string, messages: readonly PlainMessage[]): Sample {
  if (messages.some(({ role }) => role === 'assistant')) return { kind: 'conversation', messages }
  throw invalidArgument(name, 'a conversation with an answer of the assistant', messages)
}

const roles = { system: 'system', human: 'user', gpt: 'assistant' } as const

const readTurns = arrayOf((name, turn): PlainMessage => {
  const { from, value } = object(name, turn) as JsonObject
  const role = oneOf('system', 'human', 'gpt')(`${name}.from`, from)
  return { role: roles[role], content: text(`${name}.value`, value) }
})
