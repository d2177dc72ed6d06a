import { describe, OpenELMError } from '../errors.js'

/** A document of a data set: reads its columns, and says where it is when one is not as it must be. */
export class Row {
  readonly values: Readonly<Record<string, unknown>>
  /** For messages: `file: row 3`. */
  readonly place: string

  constructor(values: Readonly<Record<string, unknown>>, place: string) {
    this.values = values
    this.place = place
  }

  text(column: string): string {
    const value = this.values[column]
    return typeof value === 'string' ? value : this.fail(column, 'a text', value)
  }

  /** @throws OpenELMError INVALID_DATA unless it is a list of at least `min` and at most `max` texts. */
  texts(column: string, min: number, max = min): readonly string[] {
    return this.#list(column, min, max, 'texts', value => typeof value === 'string')
  }

  integers(column: string, min: number, max: number, length: number): readonly number[] {
    return this.#list(
      column,
      length,
      length,
      `integers from ${min} to ${max}`,
      (value): value is number => isIndex(value, min, max),
    )
  }

  /** An integer from `min` to `max`, which some data sets write as text. */
  integer(column: string, min: number, max: number): number {
    const value = this.values[column]
    const read = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
    if (isIndex(read, min, max)) return read
    return this.fail(column, `an integer from ${min} to ${max}`, value)
  }

  /** A column that is a structure of columns. */
  row(column: string): Row {
    const value = this.values[column]
    if (!isRecord(value)) return this.fail(column, 'a structure', value)
    return new Row(value, `${this.place}, ${column}`)
  }

  /** @throws OpenELMError INVALID_DATA, always. */
  fail(column: string, expected: string, received: unknown): never {
    throw new OpenELMError(
      'INVALID_DATA',
      `${this.place}: expected ${column} to be ${expected}, received ${describe(received)}`,
    )
  }

  #list<Item>(
    column: string,
    min: number,
    max: number,
    kind: string,
    isItem: (value: unknown) => value is Item,
  ): readonly Item[] {
    const list = this.values[column]
    const fits = Array.isArray(list) && list.length >= min && list.length <= max
    if (fits && list.every(isItem)) return list
    const count = min === max ? `${min}` : `${min} to ${max}`
    return this.fail(column, `${count} ${kind}`, list)
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isIndex(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}
