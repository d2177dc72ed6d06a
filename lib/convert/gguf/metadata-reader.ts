import { describe, OpenELMError } from '../../errors.js'

/** Reads typed values out of the metadata of a GGUF file, which is untrusted. */
export class MetadataReader {
  readonly #values: Readonly<Record<string, unknown>>
  readonly file: string

  constructor(values: Readonly<Record<string, unknown>>, file: string) {
    this.#values = values
    this.file = file
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key)
  }

  string(key: string, fallback?: string): string {
    return this.#read(
      key,
      'a string',
      (value): value is string => typeof value === 'string',
      fallback,
    )
  }

  boolean(key: string, fallback: boolean): boolean {
    const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'
    return this.#read(key, 'true or false', isBoolean, fallback)
  }

  integer(key: string, fallback?: number): number {
    return this.#read(key, 'an integer from 0 to 2^31', isSize, fallback)
  }

  /** The decimal number that was rounded to the float32 of the file. */
  decimal(key: string, fallback?: number): number {
    const isFiniteNumber = (value: unknown): value is number => Number.isFinite(value)
    return shortestDecimal(this.#read(key, 'a finite number', isFiniteNumber, fallback))
  }

  /** One number for all layers, or one for each. */
  perLayer(key: string, numLayers: number, fallback?: readonly number[]): readonly number[] {
    const isList = (value: unknown): value is number | readonly number[] =>
      Array.isArray(value)
        ? value.length === numLayers && value.every(item => isSize(item) && item > 0)
        : isSize(value) && value > 0
    const value = this.#read(key, `a number above 0, or ${numLayers} of them`, isList, fallback)
    // Checked here, because the list is made before the config is.
    if (numLayers < 1 || numLayers > 512) throw this.invalid(`it has ${numLayers} layers`)
    return typeof value === 'number' ? new Array<number>(numLayers).fill(value) : value
  }

  list<Item>(key: string, expected: string, isItem: (item: unknown) => item is Item): Item[] {
    const isList = (value: unknown): value is Item[] => Array.isArray(value) && value.every(isItem)
    return this.#read(key, `a list of ${expected}`, isList)
  }

  invalid(what: string): OpenELMError {
    return new OpenELMError('INVALID_GGUF', `${this.file}: ${what}`)
  }

  #read<Value>(
    key: string,
    expected: string,
    isValid: (value: unknown) => value is Value,
    fallback?: Value,
  ): Value {
    const value = this.has(key) ? this.#values[key] : fallback
    if (isValid(value)) return value
    throw this.invalid(`expected ${key} to be ${expected}, received ${describe(value)}`)
  }
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 2 ** 31
}

function shortestDecimal(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(value.toPrecision(digits))
    if (Math.fround(decimal) === Math.fround(value)) return decimal
  }
  return value
}
