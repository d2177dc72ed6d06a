import { invalidArgument } from './errors.js'

/** Checks for the options of public functions. Each returns the value, or the default for undefined. */

export function readObject(name: string, value: unknown): Record<string, unknown> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw invalidArgument(name, 'an object', value)
  return value as Record<string, unknown>
}

export function readInteger<Default>(
  name: string,
  value: unknown,
  { min, max, fallback }: { min: number; max: number; fallback: Default },
): number | Default {
  return value === undefined ? fallback : requireInteger(name, value, min, max)
}

export function requireInteger(name: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalidArgument(name, `an integer from ${min} to ${max}`, value)
  }
  return value
}

export function readBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw invalidArgument(name, 'true or false', value)
  return value
}

export function readSignal(name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value
  throw invalidArgument(name, 'an AbortSignal', value)
}

/** Token ids as native code takes them: at least `min` of them, each in the vocabulary. */
export function readTokens(
  name: string,
  value: unknown,
  vocabSize: number,
  { min = 1, expected = 'an array or an Int32Array of token ids' } = {},
): Int32Array {
  if (!Array.isArray(value) && !(value instanceof Int32Array)) {
    throw invalidArgument(name, expected, value)
  }
  if (value.length < min) throw invalidArgument(name, `at least ${min} token`, value)
  const isToken = (token: unknown) =>
    Number.isInteger(token) && (token as number) >= 0 && (token as number) < vocabSize
  const wrong = value.findIndex((token: unknown) => !isToken(token))
  if (wrong >= 0) {
    throw invalidArgument(
      `${name}[${wrong}]`,
      `an integer from 0 to ${vocabSize - 1}`,
      value[wrong],
    )
  }
  return Int32Array.from(value)
}
