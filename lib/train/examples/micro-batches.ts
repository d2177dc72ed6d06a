import type { Example, ExampleRow } from './example.js'

/** Sequences end to end, without padding: each attends to itself alone. */
export interface MicroBatch {
  /** What the model reads. */
  readonly tokens: Int32Array
  /** The token that comes next at each of them, or -1 where it is not learnt. */
  readonly targets: Int32Array
  /** Tokens of each sequence. */
  readonly lengths: Int32Array
  readonly numTargets: number
  readonly rows: readonly ExampleRow[]
}

/**
 * Fills micro-batches with whole rows, in their order.
 *
 * @param rows of a step, or of the validation data.
 * @param microBatchTokens the most tokens of a micro-batch, but for a row that has more alone.
 */
export function* microBatches(
  rows: Iterable<ExampleRow>,
  microBatchTokens: number,
): Generator<MicroBatch, void> {
  let filled: ExampleRow[] = []
  let numTokens = 0
  for (const row of rows) {
    const length = row.reduce((sum, example) => sum + lengthOf(example), 0)
    if (filled.length > 0 && numTokens + length > microBatchTokens) {
      yield microBatchOf(filled)
      filled = []
      numTokens = 0
    }
    filled.push(row)
    numTokens += length
  }
  if (filled.length > 0) yield microBatchOf(filled)
}

/** The last token is read by nothing: no token follows it. */
function lengthOf({ tokens }: Example): number {
  return tokens.length - 1
}

function microBatchOf(rows: readonly ExampleRow[]): MicroBatch {
  const examples = rows.flat()
  const lengths = Int32Array.from(examples, lengthOf)
  const numTokens = lengths.reduce((sum, length) => sum + length, 0)
  const tokens = new Int32Array(numTokens)
  const targets = new Int32Array(numTokens)
  let numTargets = 0
  let begin = 0
  for (const { tokens: ids, targets: isLearnt } of examples) {
    tokens.set(ids.subarray(0, -1), begin)
    for (let i = 1; i < ids.length; i++) {
      targets[begin++] = isLearnt[i] ? ids[i]! : -1
      numTargets += isLearnt[i]!
    }
  }
  return { tokens, targets, lengths, numTargets, rows }
}
