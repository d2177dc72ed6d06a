import { readFileSync } from 'node:fs'
import { hostname, totalmem } from 'node:os'
import { join } from 'node:path'
import { defaultThreads } from '../cpu-quota.js'
import { loadNative } from '../native.js'
import { packageRoot } from '../package-root.js'

/** What a rank tells of itself before a run. */
export interface RankFacts {
  readonly rank: number
  readonly host: string
  readonly pid: number
  /** Of the package. */
  readonly version: string
  readonly kernels: string
  /** Bytes of its host. */
  readonly memory: number
  /** The processors that it may run on; '' where the system does not tell. */
  readonly processors: string
  /** What it would compute on if it were alone there. */
  readonly defaultThreads: number
  /** What its options say. */
  readonly threads: number | undefined
}

export function describeRank(rank: number, threads: number | undefined): RankFacts {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  return {
    rank,
    host: hostname(),
    pid: process.pid,
    version,
    kernels: loadNative().cpuInfo().kernels,
    memory: totalmem(),
    processors: processors(),
    defaultThreads: defaultThreads(),
    threads,
  }
}

/** The threads of each rank: those that share processors share them alike. */
export function threadsOf(ranks: readonly RankFacts[]): number[] {
  const placeOf = ({ host, processors }: RankFacts) => `${host} ${processors}`
  return ranks.map(rank => {
    const sharing = ranks.filter(other => placeOf(other) === placeOf(rank)).length
    return rank.threads ?? Math.max(1, Math.floor(rank.defaultThreads / sharing))
  })
}

function processors(): string {
  try {
    const status = readFileSync('/proc/self/status', 'utf8')
    return /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? ''
  } catch {
    return ''
  }
}
