import { join } from 'node:path'
import { unpacked } from './native.js'

/** The models that the package carries, by name: their directories. */
export const bundledModels: ReadonlyMap<string, string> = new Map(
  ['openelm-nano'].map(name => [name, join(unpacked(import.meta.dirname), '..', 'models', name)]),
)
