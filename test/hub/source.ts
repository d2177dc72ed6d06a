import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { testConfigs, writeTestCheckpoint } from '../helpers/checkpoints.js'

/** The files of a small model, by name. */
export function sourceFiles(t: Test): [string, Buffer][] {
  const directory = join(t.testdir(), 'source')
  writeTestCheckpoint(directory, testConfigs.golden, { dtype: 'F32', seed: 1 })
  return readdirSync(directory).map(name => [name, readFileSync(join(directory, name))])
}
