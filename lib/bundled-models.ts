import { join } from 'node:path'

/** The models that the package carries, by name: their directories. */
export const bundledModels: ReadonlyMap<string, string> = new Map(
  ['openelm-nano'].map(name => [name, join(import.meta.dirname, '..', 'models', name)]),
)
