import { download } from './download.js'
import { withLock } from './lock.js'
import type { PullOptions } from './pull.js'
import { listRemoteFiles, type RemoteFile } from './remote-files.js'
import type { HubRequest } from './request.js'
import type { HubSettings } from './settings.js'
import { CachedRepository, type RepositoryName } from './snapshot.js'

/** Files at a time. */
const parallel = 4

/**
 * Brings files of a repository into the cache, each checked against its hash. They get their names when
 * all of them are there.
 *
 * @param choose which of the names in the repository are wanted.
 * @returns The directory of the commit.
 * @throws OpenELMError as `listRemoteFiles`; CORRUPT_DOWNLOAD, IO_ERROR; or the reason of the signal.
 */
export async function pullFiles(
  { endpoint, token, cacheDir }: HubSettings,
  wanted: RepositoryName,
  choose: (names: readonly string[]) => Promise<readonly string[]>,
  { signal, onProgress }: Pick<PullOptions, 'signal' | 'onProgress'>,
): Promise<string> {
  const hub: HubRequest = { endpoint, token, signal }
  const cached = new CachedRepository(cacheDir, wanted)
  const { commit, files } = await listRemoteFiles(wanted, choose, hub)
  const total = distinct(files).reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const onBytes = (count: number) => {
    done += count
    onProgress?.(done, total)
  }
  await cached.makeDirectories(commit)
  await withLock(cached.lockFile, signal, async () => {
    await forEachAtOnce(
      distinct(files),
      (file, signal) => {
        const place = { of: wanted, commit, blob: cached.blob(file.hash) }
        return download(file, place, { ...hub, signal }, onBytes)
      },
      signal,
    )
    for (const { name, hash } of files) await cached.link(commit, name, hash)
    await cached.setRevision(commit)
  })
  return cached.snapshot(commit)
}

/** Files of the same content are one. */
function distinct(files: readonly RemoteFile[]): RemoteFile[] {
  return [...new Map(files.map(file => [file.hash, file])).values()]
}

/** The smallest first, some at a time. Once one has failed the others end. */
async function forEachAtOnce(
  files: readonly RemoteFile[],
  work: (file: RemoteFile, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const failure = new AbortController()
  const either = AbortSignal.any([failure.signal, ...(signal ? [signal] : [])])
  const queue = files.toSorted((a, b) => a.size - b.size)
  const workers = Array.from({ length: parallel }, async () => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      await work(file, either)
    }
  })
  const guarded = workers.map(worker =>
    worker.catch(error => {
      failure.abort(error)
      throw error
    }),
  )
  await Promise.allSettled(guarded)
  either.throwIfAborted()
}
