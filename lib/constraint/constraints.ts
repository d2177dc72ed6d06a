import type { NativeTokenTables } from '../native-constraint.js'
import { finishInSlices } from '../steps.js'
import { Constraint } from './constraint.js'
import { type ConstraintSource, keyOfSource } from './constraint-source.js'
import { type TokenBytes, tokenTables } from './token-tables.js'

/** How many constraints are kept, with what they have learned. */
const kept = 8

/** The constraints of one vocabulary. */
export class Constraints {
  readonly #bytes: TokenBytes
  #tables: NativeTokenTables | undefined
  readonly #constraints = new Map<string, Constraint>()

  constructor(bytes: TokenBytes) {
    this.#bytes = bytes
  }

  /** @throws OpenELMError INVALID_ARGUMENT; or the reason of `signal`. */
  async get(source: ConstraintSource, signal: AbortSignal | undefined): Promise<Constraint> {
    this.#tables ??= await finishInSlices(tokenTables(this.#bytes), signal)
    const key = keyOfSource(source)
    const known = this.#constraints.get(key)
    const constraint =
      known && !known.isLarge
        ? known
        : await finishInSlices(Constraint.compile(source, this.#tables), signal)
    this.#constraints.delete(key)
    this.#constraints.set(key, constraint)
    if (this.#constraints.size > kept) {
      this.#constraints.delete(this.#constraints.keys().next().value!)
    }
    return constraint
  }
}
