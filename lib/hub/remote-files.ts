import { describe, OpenELMError } from '../errors.js'
import { isJsonObject, type JsonObject } from '../strict-json.js'
import { type HubRequest, request } from './request.js'
import { isCommit, type RepositoryName } from './snapshot.js'

/** A file of a commit. */
export interface RemoteFile {
  readonly name: string
  readonly size: number
  /** Of the content: sha256 for a large file, and git's own sha1 for one that git holds itself. */
  readonly hash: string
}

/** What a model is made of here: no code, and no weights in formats that are not read. */
const wanted = /^((generation_)?config\.json|tokenizer(_config)?\.json|chat_template\.jinja)$/
const weights = /^[\w-][\w.-]*\.safetensors(\.index\.json)?$/

/**
 * The files of a model at a revision, and the commit that it is: one request tells all names, sizes and
 * hashes. Those in folders are left out.
 *
 * @throws OpenELMError MODEL_NOT_FOUND, ACCESS_DENIED, DOWNLOAD_FAILED; or the reason of the signal.
 */
export async function listRemoteFiles(
  { repository, revision }: RepositoryName,
  hub: HubRequest,
): Promise<{ commit: string; files: RemoteFile[] }> {
  const path = `/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`
  const response = await request(path, repository, hub)
  const answer: unknown = await response.json().catch(() => undefined)
  const fail = (what: string): never => {
    throw new OpenELMError('DOWNLOAD_FAILED', `${hub.endpoint}${path}: ${what}`)
  }
  if (!isJsonObject(answer)) return fail('expected a JSON object')
  const { sha, siblings } = answer
  if (typeof sha !== 'string' || !isCommit(sha)) return fail(`no commit: ${describe(sha)}`)
  if (!Array.isArray(siblings)) return fail('no list of files')
  const files = siblings
    .filter(isWanted)
    .map(file => toRemoteFile(file) ?? fail('a file has no hash'))
  if (!files.some(({ name }) => name === 'config.json')) {
    throw new OpenELMError('MODEL_NOT_FOUND', `${repository} has no config.json: it is no model`)
  }
  return { commit: sha, files }
}

function isWanted(file: unknown): file is JsonObject {
  const name = isJsonObject(file) ? file.rfilename : undefined
  return typeof name === 'string' && (wanted.test(name) || weights.test(name))
}

function toRemoteFile({ rfilename, size, blobId, lfs }: JsonObject): RemoteFile | undefined {
  const large = isJsonObject(lfs) ? lfs : undefined
  const hash = large ? large.sha256 : blobId
  const bytes = large?.size ?? size
  if (typeof hash !== 'string' || !(large ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash)) {
    return undefined
  }
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) return undefined
  return { name: rfilename as string, size: bytes, hash }
}
