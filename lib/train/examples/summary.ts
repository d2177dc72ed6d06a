/** What became of the rows of the data. */
export interface ExampleSummary {
  /** Rows of all files. */
  readonly rows: number
  /** Rows that are learnt from. */
  readonly examples: number
  /** Tokens of those. */
  readonly tokens: number
  /** Tokens that are learnt. */
  readonly targets: number
  /** Rows that are learnt from, but have lost what did not fit. */
  readonly truncated: number
  /** Rows of which nothing that is learnt did fit. */
  readonly dropped: number
  /** Preferences left out because their answers are the same, at least as far as they fit. */
  readonly identical: number
}

const counts = new Intl.NumberFormat('en-US')
const percent = new Intl.NumberFormat('en-US', { style: 'percent', maximumFractionDigits: 1 })

/** For example: `64 rows, 3,012 of 9,120 tokens learnt, 2 rows truncated (3.1%), 1 dropped`. */
export function describeExamples(summary: ExampleSummary): string {
  const { rows, tokens, targets, truncated, dropped, identical } = summary
  const count = (number: number) => counts.format(number)
  const lost = [
    truncated > 0 ? `${count(truncated)} truncated (${percent.format(truncated / rows)})` : [],
    dropped > 0 ? `${count(dropped)} dropped, as nothing to learn fits` : [],
    identical > 0 ? `${count(identical)} dropped, as both answers are the same` : [],
  ].flat()
  return [
    `${count(rows)} rows`,
    `${count(targets)} of ${count(tokens)} tokens learnt`,
    ...lost,
  ].join(', ')
}

/** What a user should be told of examples before he learns from them: that many did not fit. */
export function warningOf({ rows, truncated, dropped }: ExampleSummary): string | undefined {
  const share = (truncated + dropped) / rows
  if (share <= 0.1) return undefined
  return `${percent.format(share)} of the rows are longer than the sequence length`
}
