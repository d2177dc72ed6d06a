import { sum } from './metrics.js'

/** The mean of a metric over documents, and how sure it is. */
export interface Estimate {
  readonly mean: number
  /** The standard error of the mean; unknown from one document. */
  readonly stderr: number | undefined
  readonly documents: number
}

export function estimate(values: readonly number[]): Estimate {
  const documents = values.length
  const mean = sum(values) / documents
  const squares = sum(values.map(value => (value - mean) ** 2))
  const stderr = Math.sqrt(squares / (documents - 1)) / Math.sqrt(documents)
  return { mean, stderr: documents > 1 ? stderr : undefined, documents }
}

/** Of a group: every document counts the same, whichever part it is in. */
export function pool(parts: readonly Estimate[]): Estimate {
  const documents = sum(parts.map(part => part.documents))
  const mean = sum(parts.map(part => part.mean * part.documents)) / documents
  if (parts.some(part => part.stderr === undefined)) return { mean, stderr: undefined, documents }
  const squares = parts.map(part => (part.documents - 1) * part.stderr! ** 2 * part.documents)
  const variance = sum(squares) / (documents - parts.length)
  return { mean, stderr: Math.sqrt(variance / documents), documents }
}
