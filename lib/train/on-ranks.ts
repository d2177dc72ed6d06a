import { invalidArgument, OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import { callback, integer, number, optional, type Rule, readOptions } from '../options.js'
import { Cluster } from './cluster.js'
import { type RankFacts, threadsOf } from './rank-facts.js'
import { serveRun } from './serve-run.js'

/** How a run is shared by several processes: a part of the options of `train` and `finetune`. */
export interface RankOptions {
  /**
   * Whether this process is one of several that mpirun or srun has started for this run, which all call
   * with the same options: rank 0 reads, writes and yields the steps; on the others the call ends when
   * the run does, and yields nothing. A string is the path of the MPI library; OPENELM_MPI names one,
   * too. Default false.
   */
  mpi?: boolean | string | undefined
  /** How long another rank may be silent before the run fails, in seconds; above 0. Default 60. */
  timeoutSeconds?: number | undefined
  /** Called on rank 0 before the first step, with who takes part. */
  onRanks?: ((summary: RankSummary) => void) | undefined
}

/** The ranks of a run. */
export interface RankSummary {
  readonly ranks: number
  readonly hosts: number
  /** Of each rank. */
  readonly threads: readonly number[]
  /** The MPI library, such as 'Open MPI v4.1.4'. */
  readonly library: string
  /** Of rank 0, which saves and stops when it is interrupted. */
  readonly host: string
  readonly pid: number
  /** The instruction sets of the ranks: where there are several, bits depend on who computed what. */
  readonly kernels: readonly string[]
}

const mpiRule: Rule<boolean | string> = (name, value) => {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  throw invalidArgument(name, 'true, false or a path', value)
}

export const rankRules = {
  mpi: optional(mpiRule, false),
  timeoutSeconds: optional(number({ above: 0 }), 60),
  onRanks: optional(callback<NonNullable<RankOptions['onRanks']>>()),
}

interface Shared {
  readonly mpi: boolean | string
  readonly timeoutSeconds: number
  readonly threads: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly onRanks?: RankOptions['onRanks']
}

/**
 * Runs on rank 0, and works for it on the others, where nothing is yielded.
 *
 * @throws OpenELMError DEPENDENCY_NOT_FOUND without MPI, BUSY, RANK_LOST, INVALID_ARGUMENT when ranks do
 *   not fit together; on all ranks what the run throws on rank 0.
 */
export async function* onRanks<Step>(
  options: Shared,
  run: (cluster: Cluster | undefined) => AsyncGenerator<Step, void>,
): AsyncGenerator<Step, void> {
  if (options.mpi === false) {
    refuseToBeOneOfMany()
    return yield* run(undefined)
  }
  const cluster = await Cluster.join(options)
  if (cluster.rank > 0) return await serveRun(cluster)
  let failure: unknown
  try {
    await cluster.meet()
    options.onRanks?.(summaryOf(cluster))
    yield* run(cluster)
  } catch (error) {
    failure = error
    throw error
  } finally {
    // Where ranks are lost, the error of the run tells it.
    await cluster.end(options.signal?.aborted ? undefined : failure).catch(() => {})
  }
}

const assistRules = {
  mpi: rankRules.mpi,
  timeoutSeconds: rankRules.timeoutSeconds,
  threads: optional(integer(1, 1024)),
}

/**
 * Where this process is a rank above 0, works for the run of rank 0, `train` or `finetune`, until that
 * ends, and resolves to true: its other options need not be known here. On rank 0 resolves to false.
 *
 * @param options of {@link RankOptions}, and `threads`.
 * @throws OpenELMError as `train` with `mpi`.
 */
export async function assistRun(
  options: Pick<RankOptions, 'mpi' | 'timeoutSeconds'> & { threads?: number | undefined },
): Promise<boolean> {
  const given = readOptions(options, assistRules)
  if (given.mpi === false) return false
  const cluster = await Cluster.join(given)
  if (cluster.rank === 0) {
    cluster.release()
    return false
  }
  await serveRun(cluster)
  return true
}

/** @throws OpenELMError INVALID_ARGUMENT: else every process would write the same run. */
function refuseToBeOneOfMany(): void {
  const { variable, size } = loadNative().launcherSize()
  if (size === 1) return
  const what = `this is one of ${size} processes (${variable}), each of which would do the whole run`
  throw new OpenELMError('INVALID_ARGUMENT', `${what}; mpi (--mpi) makes them share it`)
}

function summaryOf({ ranks, version }: Cluster): RankSummary {
  const of = <Value>(get: (rank: RankFacts) => Value) => [...new Set(ranks.map(get))]
  return {
    ranks: ranks.length,
    hosts: of(({ host }) => host).length,
    threads: threadsOf(ranks),
    library: version,
    host: ranks[0]!.host,
    pid: ranks[0]!.pid,
    kernels: of(({ kernels }) => kernels),
  }
}
