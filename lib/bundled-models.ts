import { join } from 'node:path'
import { packageRoot, unpacked } from './package-root.js'

const names = ['openelm-nano']

/** The directory of a model that the package carries; undefined when it carries none of that name. */
export function bundledModel(name: string): string | undefined {
  return names.includes(name) ? join(unpacked(packageRoot()), 'models', name) : undefined
}
