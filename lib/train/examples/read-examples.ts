import { invalidArgument, OpenELMError } from '../../errors.js'
import { pauses, type Steps } from '../../steps.js'
import type { JsonObject } from '../../strict-json.js'
import type { Tokenizer } from '../../tokenizer.js'
import { encodeExample, fitExample } from './encode-example.js'
import { encodePreference, encodePreferenceExactly } from './encode-preference.js'
import type { Example, ExampleRow, Objective } from './example.js'
import { ExampleRows, ExampleStore, type StoredRow } from './example-rows.js'
import { readFileRows } from './read-file-rows.js'
import { type FormatName, formatOf, type RowFormat, readRow } from './row-formats.js'
import { answersOf, type Sample, type SamplePair } from './sample.js'
import { describeExamples, type ExampleSummary } from './summary.js'
import {
  defaultSystemOf,
  type RenderOptions,
  renderSample,
  type TemplateName,
} from './templates.js'

export interface ExampleOptions {
  /** Default that of the first row: dpo where it has `chosen` and `rejected`, else sft. */
  readonly objective?: Objective | undefined
  /** Default what the first row of each file is. */
  readonly format?: FormatName | undefined
  /** Default zephyr, but none where rows have a prompt and its completion as texts. */
  readonly template?: TemplateName | undefined
  /**
   * The system message of conversations that have none, which only the template zephyr has; null for
   * nothing. Default an empty one with zephyr, as in Apple's tuning.
   */
  readonly system?: string | null | undefined
  /** Whether prompts are learnt as well, in sft. Default false. */
  readonly trainPrompts?: boolean | undefined
  /** Which answers of a conversation are learnt, in sft. Default all. */
  readonly answers?: 'all' | 'last' | undefined
  /** The most tokens of an example, from 2. What is longer is cut. */
  readonly sequenceLength: number
  /**
   * What a prompt keeps at least when answers of dpo do not fit, from 1 to below `sequenceLength`.
   * Default half of that.
   */
  readonly maxPromptLength?: number | undefined
  /** Whether preferences are put together and cut exactly as in Apple's tuning. Default false. */
  readonly exact?: boolean | undefined
}

/** What files give to learn from. */
export interface Examples {
  readonly objective: Objective
  readonly template: TemplateName
  readonly system: string | null
  readonly rows: ExampleRows
  readonly summary: ExampleSummary
  /** Of all tokens and of which of them are learnt, in hexadecimal. */
  readonly sha256: string
}

/**
 * Reads examples from `.jsonl` and `.json` files, row by row, and keeps their tokens alone. All rows of a
 * file must be of one format.
 *
 * @throws OpenELMError IO_ERROR; INVALID_DATA naming the file and the row that cannot be used, or when
 *   nothing is left to learn; INVALID_ARGUMENT for a system message that the template has no place for,
 *   or a `maxPromptLength` that leaves none for answers; or the reason of `signal`.
 */
export async function readExamples(
  files: readonly string[],
  tokenizer: Tokenizer,
  options: ExampleOptions,
  signal?: AbortSignal,
): Promise<Examples> {
  const reader = new ExampleReader(tokenizer, options)
  const pause = pauses(signal)
  for (const file of files) {
    let format: RowFormat | undefined
    for await (const { values, place } of readFileRows(file)) {
      try {
        format ??= reader.formatOf(values)
        const steps = reader.add(readRow(values, format))
        while (!steps.next().done) await pause()
      } catch (error) {
        throw isInvalidArgument(error) ? inRow(place, error) : error
      }
      await pause()
    }
  }
  return reader.finish()
}

function isInvalidArgument(error: unknown): error is OpenELMError {
  return error instanceof OpenELMError && error.code === 'INVALID_ARGUMENT'
}

function inRow(place: string, cause: OpenELMError): OpenELMError {
  return new OpenELMError('INVALID_DATA', `${place}: ${cause.message}`, { cause })
}

class ExampleReader {
  readonly #tokenizer: Tokenizer
  readonly #options: ExampleOptions
  /** What is undefined here, the first row that tells it decides. */
  #objective: Objective | undefined
  #template: TemplateName | undefined
  readonly #store = new ExampleStore()
  readonly #rows: StoredRow[] = []
  #numRows = 0
  #numExamples = 0
  readonly #counts = { tokens: 0, targets: 0, truncated: 0, dropped: 0, identical: 0 }

  constructor(tokenizer: Tokenizer, options: ExampleOptions) {
    this.#tokenizer = tokenizer
    this.#options = options
    this.#objective = options.objective
    this.#template = options.template
    if (options.template) this.#checkSystem(options.template)
    const { sequenceLength, maxPromptLength = 1 } = options
    if (maxPromptLength < sequenceLength) return
    const expected = `below the sequence length, ${sequenceLength}`
    throw invalidArgument('options.maxPromptLength', expected, maxPromptLength)
  }

  /** The format of a file, by its first row. */
  formatOf(row: JsonObject): RowFormat {
    const format = formatOf(row, this.#options)
    const natural = format.name === 'preference' ? 'dpo' : 'sft'
    this.#objective ??= natural
    if (natural === this.#objective || this.#options.objective === 'sft') return format
    const expected = `those of rows for ${this.#objective}, as given or as in the first file`
    throw invalidArgument('the columns', expected, format.columns.join(' and '))
  }

  *add(row: Sample | SamplePair): Steps<void> {
    const index = this.#numRows++
    const examples =
      this.#objective === 'sft'
        ? yield* this.#example('kind' in row ? row : row.chosen)
        : yield* this.#preference(row as SamplePair)
    if (examples === undefined) return
    this.#rows.push({ first: this.#numExamples, index })
    this.#numExamples += examples.length
    for (const example of examples) {
      this.#store.add(example)
      this.#counts.tokens += example.tokens.length
      for (const target of example.targets) this.#counts.targets += target
    }
  }

  /** Undefined when nothing is left to learn. */
  *#example(sample: Sample): Steps<ExampleRow | undefined> {
    const { sequenceLength, trainPrompts } = this.#options
    if (answersOf(sample).includes('')) {
      throw invalidArgument('the answer', 'a text that is not empty', '')
    }
    const parts = renderSample(sample, this.#tokenizer, this.#renderOptions(sample))
    const whole = yield* encodeExample(parts, this.#tokenizer, trainPrompts)
    const example = fitExample(whole, sequenceLength)
    if (!example) this.#counts.dropped++
    else if (whole.targets.lastIndexOf(1) >= sequenceLength) this.#counts.truncated++
    return example && [example]
  }

  /** Undefined when there is nothing to prefer. */
  *#preference(pair: SamplePair): Steps<ExampleRow | undefined> {
    const { sequenceLength, exact } = this.#options
    const { maxPromptLength = Math.floor(sequenceLength / 2) } = this.#options
    const options = { ...this.#renderOptions(pair.chosen), sequenceLength, maxPromptLength }
    const encode = exact ? encodePreferenceExactly : encodePreference
    const { row, isTruncated } = yield* encode(pair, this.#tokenizer, options)
    if (isEqual(row[0], row[1])) this.#counts.identical++
    else if (isTruncated) this.#counts.truncated++
    return isEqual(row[0], row[1]) ? undefined : row
  }

  #renderOptions(sample: Sample): RenderOptions {
    const template = this.#templateFor(sample)
    const { system = defaultSystemOf(template), answers = 'all' } = this.#options
    return { template, system, answers }
  }

  #templateFor({ kind }: Sample): TemplateName {
    const natural = kind === 'completion' || kind === 'text' ? 'none' : 'zephyr'
    if (kind === 'text') return this.#template ?? natural
    if (this.#template === undefined) {
      this.#checkSystem(natural)
      this.#template = natural
    }
    if (this.#template === natural || this.#options.template) return this.#template
    const expected = `given: by default the rows before have ${this.#template}, and this one ${natural}`
    throw invalidArgument('options.template', expected, undefined)
  }

  #checkSystem(template: TemplateName): void {
    if (template === 'zephyr' || (this.#options.system ?? null) === null) return
    const expected = `absent: the template ${template} has no system message`
    throw invalidArgument('options.system', expected, this.#options.system)
  }

  finish(): Examples {
    const template = this.#template ?? 'none'
    const { system = defaultSystemOf(template) } = this.#options
    const rows = new ExampleRows(this.#store, this.#rows, this.#objective === 'dpo')
    const summary = { rows: this.#numRows, examples: rows.length, ...this.#counts }
    if (rows.length === 0) {
      const what = 'the data has no row of which anything is left to learn'
      throw new OpenELMError('INVALID_DATA', `${what}: ${describeExamples(summary)}`)
    }
    const { sha256 } = this.#store
    return { objective: this.#objective!, template, system, rows, summary, sha256 }
  }
}

function isEqual(a: Example, b: Example): boolean {
  return a.tokens.length === b.tokens.length && a.tokens.every((token, i) => token === b.tokens[i])
}
