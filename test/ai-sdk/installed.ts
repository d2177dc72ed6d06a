import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export const clients = join(import.meta.dirname, '..', 'clients')

/** Why tests that need the AI SDK are skipped, if they are. */
export const skip = existsSync(join(clients, 'node_modules', 'ai6'))
  ? false
  : 'npm ci --prefix test/clients installs what it needs'

/** A package of test/clients: many of its types differ between versions, so it has none here. */
// biome-ignore lint/suspicious/noExplicitAny: see above.
export async function importClient(name: string): Promise<any> {
  const { resolve } = createRequire(join(clients, 'package.json'))
  return await import(pathToFileURL(resolve(name)).href)
}
