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

/** Names that cannot lead out of a folder, on any system. */
const safe = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/

/**
 * The files of a repository at a revision, and the commit that it is: one request tells all names, sizes
 * and hashes.
 *
 * @param choose which of the names are wanted.
 * @throws OpenELMError MODEL_NOT_FOUND, IO_ERROR for a data set that is not there, ACCESS_DENIED,
 *   DOWNLOAD_FAILED; or the reason of the signal; or what `choose` throws.
 */
export async function listRemoteFiles(
  wanted: RepositoryName,
  choose: (names: readonly string[]) => Promise<readonly string[]>,
  hub: HubRequest,
): Promise<{ commit: string; files: RemoteFile[] }> {
  const { type, repository, revision } = wanted
  const path = `/api/${type}s/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`
  const response = await request(path, wanted, hub)
  const answer: unknown = await response.json().catch(() => undefined)
  const fail = (what: string): never => {
    throw new OpenELMError('DOWNLOAD_FAILED', `${hub.endpoint}${path}: ${what}`)
  }
  if (!isJsonObject(answer)) return fail('expected a JSON object')
  const { sha, siblings } = answer
  if (typeof sha !== 'string' || !isCommit(sha)) return fail(`no commit: ${describe(sha)}`)
  if (!Array.isArray(siblings)) return fail('no list of files')
  const named = new Map<string, JsonObject>()
  for (const file of siblings.filter(isJsonObject)) {
    if (typeof file.rfilename === 'string' && safe.test(file.rfilename)) {
      named.set(file.rfilename, file)
    }
  }
  const names = await choose([...named.keys()])
  const files = names.map(name => toRemoteFile(named.get(name)!) ?? fail('a file has no hash'))
  return { commit: sha, files }
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
