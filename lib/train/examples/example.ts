/** A sequence to learn from. */
export interface Example {
  /** Ids, which begin with BOS but where Apple's own way of cutting a prompt has lost it. */
  readonly tokens: Int32Array
  /** 1 for each token that is learnt, as the one that follows those before it, else 0; the first is 0. */
  readonly targets: Uint8Array
}

/** What one row of the data gives: an example, or of a preference the chosen one and the rejected one. */
export type ExampleRow = readonly [Example] | readonly [chosen: Example, rejected: Example]

export type Objective = 'sft' | 'dpo'
