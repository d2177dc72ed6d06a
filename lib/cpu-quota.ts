import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadNative } from './native.js'

/** How many threads to compute on by default: the physical cores, or fewer where a quota allows no more. */
export function defaultThreads(): number {
  const allowed = Math.max(1, Math.floor(cpuQuota()))
  return Math.min(loadNative().cpuInfo().physicalCores, allowed)
}

/**
 * How many processors' time the control groups of Linux allow this process, as containers limit it:
 * the lowest quota of its group and of those above; Infinity without one. `availableParallelism` of
 * Node does not look at it.
 *
 * @param list the file that names the groups of this process.
 * @param root where the file systems of the groups are mounted.
 */
export function cpuQuota(list = '/proc/self/cgroup', root = '/sys/fs/cgroup'): number {
  let quota = Infinity
  for (const line of readLines(list)) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    const isUnified = controllers === ''
    if (!isUnified && !controllers.split(',').includes('cpu')) continue
    const mounts = isUnified ? ['', 'unified'] : [controllers, 'cpu']
    for (const mount of mounts) {
      for (const group of withParents(path)) {
        const directory = join(root, mount, group)
        quota = Math.min(quota, isUnified ? quotaOfV2(directory) : quotaOfV1(directory))
      }
    }
  }
  return quota
}

/** "/a/b", "/a" and "/", which inside a container is the container's own group. */
function withParents(path: string): string[] {
  const names = path.split('/').filter(name => name !== '' && name !== '..')
  return Array.from({ length: names.length + 1 }, (_, i) => `/${names.slice(0, i).join('/')}`)
}

/** cpu.max holds "50000 100000" or "max 100000". */
function quotaOfV2(directory: string): number {
  const [quota, period] = (readLines(join(directory, 'cpu.max'))[0] ?? '').split(' ')
  return share(Number(quota), Number(period))
}

/** A quota of -1 is none. */
function quotaOfV1(directory: string): number {
  const read = (name: string) => Number(readLines(join(directory, name))[0])
  return share(read('cpu.cfs_quota_us'), read('cpu.cfs_period_us'))
}

function share(quota: number, period: number): number {
  return quota > 0 && period > 0 ? quota / period : Infinity
}

/** The lines of a file; an empty list where there is no such file. */
function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}
