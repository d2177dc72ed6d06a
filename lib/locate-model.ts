import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { bundledModel } from './bundled-models.js'
import { hubSettings } from './hub/settings.js'
import { CachedRepository, parseRepositoryName } from './hub/snapshot.js'

/**
 * The directory of a model that is on this machine: a bundled one of that name, a directory, or a
 * repository of the hub, `owner/name`, that was pulled before. Asks nobody else.
 */
export async function locateModel(source: string): Promise<string | undefined> {
  const bundled = bundledModel(source)
  if (bundled !== undefined) return bundled
  const stats = await stat(source).catch(() => undefined)
  if (stats?.isDirectory()) return resolve(source)
  const name = parseRepositoryName(source)
  if (name === undefined) return undefined
  const { cacheDir } = await hubSettings({})
  return new CachedRepository(cacheDir, name).complete()
}
