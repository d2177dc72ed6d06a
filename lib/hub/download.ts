import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open, rename, stat } from 'node:fs/promises'
import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'
import type { RemoteFile } from './remote-files.js'
import {
  type HubRequest,
  Interrupted,
  messageOf,
  pathOf,
  requestOnce,
  withRetries,
} from './request.js'
import type { RepositoryName } from './snapshot.js'

/**
 * Downloads a file to `blob`, which it becomes when its size and hash are right. What an earlier download
 * left beside it is gone on from.
 *
 * @param onBytes told of bytes that are there now, and with a negative count of those that were given up.
 * @throws OpenELMError CORRUPT_DOWNLOAD, DOWNLOAD_FAILED, MODEL_NOT_FOUND, ACCESS_DENIED, IO_ERROR; or the
 *   reason of the signal.
 */
export async function download(
  file: RemoteFile,
  { of, commit, blob }: { of: RepositoryName; commit: string; blob: string },
  hub: HubRequest,
  onBytes: (count: number) => void,
): Promise<void> {
  const stats = await stat(blob).catch(() => undefined)
  if (stats?.size === file.size) return onBytes(file.size)
  // A name of our own: other tools have theirs for what they are writing.
  const partial = `${blob}.openelm-incomplete`
  const handle = await open(partial, 'a+').catch(cause => {
    throw ioError('write', partial, cause)
  })
  try {
    const part = await Part.open(handle, partial, file, onBytes)
    const name = file.name.split('/').map(encodeURIComponent).join('/')
    const path = `/${pathOf(of)}/resolve/${commit}/${name}`
    await withRetries(`${of.repository}/${file.name}`, hub.signal, async () => {
      if (part.length === file.size) return
      const range = { range: `bytes=${part.length}-` }
      const response = await requestOnce(path, of, hub, part.length > 0 ? range : {})
      // Without ranges, or with another idea of how long the file is, a server begins anew.
      if (response.status !== 206) await part.truncate()
      await receive(response, part)
    })
    await part.verify()
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(partial, blob).catch(cause => {
    throw ioError('write', blob, cause)
  })
}

async function receive(response: Response, part: Part): Promise<void> {
  if (response.status === 416 || response.body === null) {
    await response.body?.cancel()
    throw new Interrupted(`the server answered ${response.status}`)
  }
  const reader = response.body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(error => {
        throw new Interrupted(messageOf(error), error)
      })
      if (done) break
      await part.append(value)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
  if (!part.isWhole) throw new Interrupted(`it ended after ${part.length} bytes`)
}

/** What has come of a file, and the hash of that. */
class Part {
  #length = 0
  #hash: Hash
  readonly #handle: FileHandle
  readonly #path: string
  readonly #file: RemoteFile
  readonly #onBytes: (count: number) => void

  private constructor(
    handle: FileHandle,
    path: string,
    file: RemoteFile,
    onBytes: (count: number) => void,
  ) {
    this.#handle = handle
    this.#path = path
    this.#file = file
    this.#onBytes = onBytes
    this.#hash = hashOf(file)
  }

  static async open(
    handle: FileHandle,
    path: string,
    file: RemoteFile,
    onBytes: (count: number) => void,
  ): Promise<Part> {
    const part = new Part(handle, path, file, onBytes)
    const buffer = Buffer.alloc(2 ** 20)
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, part.#length)
      if (bytesRead === 0) return part
      part.#count(buffer.subarray(0, bytesRead))
      if (part.#length > file.size) {
        await part.truncate()
        return part
      }
    }
  }

  get length(): number {
    return this.#length
  }

  get isWhole(): boolean {
    return this.#length === this.#file.size
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#length + bytes.length > this.#file.size) {
      await this.truncate()
      throw this.#corrupt(`it is longer than ${this.#file.size} bytes`)
    }
    await this.#handle.appendFile(bytes).catch(cause => {
      throw ioError('write', this.#path, cause)
    })
    this.#count(bytes)
  }

  async truncate(): Promise<void> {
    await this.#handle.truncate().catch(cause => {
      throw ioError('write', this.#path, cause)
    })
    this.#onBytes(-this.#length)
    this.#length = 0
    this.#hash = hashOf(this.#file)
  }

  /** @throws OpenELMError CORRUPT_DOWNLOAD; what has come is then given up. */
  async verify(): Promise<void> {
    const hash = this.#hash.digest('hex')
    if (hash === this.#file.hash) return
    await this.truncate()
    throw this.#corrupt(`its hash is ${hash}, and not ${this.#file.hash}`)
  }

  #count(bytes: Uint8Array): void {
    this.#hash.update(bytes)
    this.#length += bytes.length
    this.#onBytes(bytes.length)
  }

  #corrupt(what: string): OpenELMError {
    return new OpenELMError('CORRUPT_DOWNLOAD', `what came as ${this.#file.name} is not: ${what}`)
  }
}

/** Git hashes a file behind a header. */
function hashOf({ hash, size }: RemoteFile): Hash {
  if (hash.length === 64) return createHash('sha256')
  return createHash('sha1').update(`blob ${size}\0`)
}
