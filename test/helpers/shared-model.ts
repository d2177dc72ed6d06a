import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const besideTheRepository = fileURLToPath(
  new URL('../../../shared/models/stories260K', import.meta.url),
)

/** The directory of a small trained model that tells children's stories, where there is one. */
export const stories260K: string | undefined =
  process.env.OPENELM_TEST_MODEL ||
  (existsSync(besideTheRepository) ? besideTheRepository : undefined)

/** For tap's `skip` option. */
export const skipWithoutStories: string | false =
  stories260K === undefined &&
  'needs stories260K in ../shared/models, or where OPENELM_TEST_MODEL says'
