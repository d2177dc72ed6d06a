import {
  link,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { ioError } from '../files.js'

/** A repository of the hub and what is wanted of it. */
export interface RepositoryName {
  readonly type: 'model' | 'dataset'
  /** `owner/name` */
  readonly repository: string
  /** A branch, a tag or a commit. */
  readonly revision: string
}

/**
 * Reads `owner/name` or `owner/name@revision`, with or without `hf:` in front; undefined for what is no
 * such name. Nothing of it can lead out of a folder.
 */
export function parseRepositoryName(source: string): RepositoryName | undefined {
  const part = '[A-Za-z0-9](?:[\\w.-]*\\w)?'
  const form = new RegExp(`^(?:hf:)?(${part}/${part})(?:@(\\w[\\w.-]*(?:/\\w[\\w.-]*)*))?$`)
  const [, repository, revision = 'main'] = form.exec(source) ?? []
  if (repository === undefined || /--|\.\./.test(repository + revision)) return undefined
  return { type: 'model', repository, revision }
}

/** A repository in the cache, laid out as Hugging Face's Python library does. */
export class CachedRepository {
  readonly #root: string
  readonly #revision: string

  constructor(cacheDir: string, { type, repository, revision }: RepositoryName) {
    this.#root = join(cacheDir, `${type}s--${repository.replace('/', '--')}`)
    this.#revision = revision
  }

  get lockFile(): string {
    return join(this.#root, '.openelm-lock')
  }

  /** Where a file of that hash is, under whatever names. */
  blob(hash: string): string {
    return join(this.#root, 'blobs', hash)
  }

  snapshot(commit: string): string {
    return join(this.#root, 'snapshots', commit)
  }

  /** The commit that the revision was when it was last pulled. */
  async commit(): Promise<string | undefined> {
    const commit = isCommit(this.#revision)
      ? this.#revision
      : (await readFile(this.#ref, 'utf8').catch(() => '')).trim()
    return isCommit(commit) ? commit : undefined
  }

  /** The directory of the revision as it was last pulled, if all that a model needs is there. */
  async complete(): Promise<string | undefined> {
    const commit = await this.commit()
    if (commit === undefined) return undefined
    const directory = this.snapshot(commit)
    return (await holdsModel(directory)) ? directory : undefined
  }

  /** @throws OpenELMError IO_ERROR */
  async makeDirectories(commit: string): Promise<void> {
    for (const directory of [join(this.#root, 'blobs'), this.snapshot(commit)]) {
      await mkdir(directory, { recursive: true }).catch(cause => {
        throw ioError('write', directory, cause)
      })
    }
  }

  /**
   * Gives a blob its name in a snapshot, by a symbolic link where the system allows those: Windows does
   * only if it was told to.
   *
   * @throws OpenELMError IO_ERROR
   */
  async link(commit: string, name: string, hash: string): Promise<void> {
    const file = join(this.snapshot(commit), name)
    const target = relative(dirname(file), this.blob(hash))
    if ((await readlink(file).catch(() => undefined)) === target) return
    try {
      await mkdir(dirname(file), { recursive: true })
      await rm(file, { force: true })
      await symlink(target, file).catch(() => link(this.blob(hash), file))
    } catch (cause) {
      throw ioError('write', file, cause)
    }
  }

  /** Makes the revision mean a commit: after its files, so that who finds one finds the other. */
  async setRevision(commit: string): Promise<void> {
    if (isCommit(this.#revision)) return
    try {
      await mkdir(dirname(this.#ref), { recursive: true })
      await writeFile(`${this.#ref}.tmp`, commit)
      await rename(`${this.#ref}.tmp`, this.#ref)
    } catch (cause) {
      throw ioError('write', this.#ref, cause)
    }
  }

  get #ref(): string {
    return join(this.#root, 'refs', this.#revision)
  }
}

export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text)
}

/** Whether the config and all weights are there: other tools pull single files. */
async function holdsModel(directory: string): Promise<boolean> {
  const exists = async (name: string) => {
    return (await stat(join(directory, name)).catch(() => undefined))?.isFile() ?? false
  }
  if (!(await exists('config.json'))) return false
  if (await exists('model.safetensors')) return true
  const index = join(directory, 'model.safetensors.index.json')
  try {
    const { weight_map } = JSON.parse(await readFile(index, 'utf8'))
    const shards = [...new Set(Object.values(weight_map as Record<string, string>))]
    const found = await Promise.all(shards.map(exists))
    return found.length > 0 && found.every(Boolean)
  } catch {
    return false
  }
}
