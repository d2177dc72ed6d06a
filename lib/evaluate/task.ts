import type { Row } from './row.js'

/** What a question asks the model: which of several continuations is the likeliest. */
export interface Question {
  /** The context of all choices, or one for each. */
  readonly contexts: readonly string[]
  /** What may follow the context, without the delimiter: one for each choice. */
  readonly continuations: readonly string[]
  /** The index of the correct choice. */
  readonly gold: number
  /** Which choices are true, where that can be said of several. */
  readonly labels?: readonly number[]
}

/** Where the documents of a task are: in a repository, which is in a folder. */
export interface DataSet {
  readonly repository: string
  /** Where the repository is. Default the Hugging Face hub, as a data set. */
  readonly host?: 'GitHub'
  /** The configuration of the data set that the task uses, a folder of it. */
  readonly config?: string
  /** What file names have in front of the split, for example `race_high_`. */
  readonly filePrefix?: string
  /** Only rows in which this column has this value: several tasks may share a file. */
  readonly only?: readonly [column: string, value: string]
}

export type Split = 'train' | 'dev' | 'validation' | 'test'

export type MetricName = 'acc' | 'acc_norm' | 'mc2' | 'likelihood_diff' | 'pct_stereotype'

/** One task of lm-evaluation-harness, as data: `question` makes a question of a row. */
export interface Task {
  readonly name: string
  /** Its short name in tables. Default its name. */
  readonly alias?: string
  readonly version: number
  readonly data: DataSet
  /** What is scored, and how many documents the split had when the paper was written. */
  readonly split: Split
  readonly numDocuments: number
  /** Where solved examples come from; nothing where they are not wanted, whatever is asked for. */
  readonly fewShot?: FewShot
  /** Put once in front of all. */
  readonly description?: string
  /** Put between a context and what follows it. */
  readonly delimiter: ' ' | ''
  readonly metrics: readonly MetricName[]
  /** The seed by which the documents are shuffled before any are left out. Default: they are not. */
  readonly shuffleSeed?: number
  /** @throws OpenELMError INVALID_DATA */
  question(row: Row): Question
}

export interface FewShot {
  readonly split: Split
  /** Drawn anew for each document, or always the first ones of the split. */
  readonly choice: 'drawn' | 'first'
  /**
   * Whether one more is drawn than is needed, in case that one is the document itself. The harness does
   * so for tasks of which it thinks that they draw from what they score: those that name neither a test
   * split nor a split of examples.
   */
  readonly drawsOneMore?: boolean
}
