import { type Command, Option } from 'commander'
import { assistRun, type RankSummary } from '../train/index.js'
import { explain } from './explain.js'
import { numeric } from './options.js'
import { note } from './output.js'

/** The command-line form of RankOptions. */
export const rankOptions = [
  new Option('--mpi', 'share the run with the other processes of mpirun or srun'),
  numeric('--timeout-seconds <n>', 'how long a process may be silent (default: 60)'),
].map(option => option.helpGroup('Several processes:'))

export const splitOption = numeric(
  '--split <n>',
  'parts that a gradient is summed in (default: one for each process)',
)

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const

/** Whether this was a process that another one's run has made use of, until that run has ended. */
export async function hasAssisted(
  options: Record<string, unknown>,
  command: Command,
): Promise<boolean> {
  // mpirun hands signals to all: it is rank 0 that saves, and then ends the others.
  const ignore = () => {}
  if (options.mpi) for (const signal of signals) process.on(signal, ignore)
  const { mpi, timeoutSeconds, threads } = options as Parameters<typeof assistRun>[0]
  try {
    if (await assistRun({ mpi, timeoutSeconds, threads })) return true
  } catch (error) {
    const { code } = error as { code?: string }
    // What the run has ended with, rank 0 tells.
    if (code === 'RANK_LOST' || code === 'DEPENDENCY_NOT_FOUND') note(explain(error, command))
    process.exitCode = code === 'INVALID_ARGUMENT' ? 2 : 1
    return true
  }
  if (options.mpi) for (const signal of signals) process.off(signal, ignore)
  return false
}

export function tellRanks(summary: RankSummary): void {
  const { ranks, hosts, threads, library, host, pid, kernels } = summary
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  const [fewest, most] = [Math.min(...threads), Math.max(...threads)]
  const each = fewest === most ? `${count(most, 'thread')} each` : `${fewest} to ${most} threads`
  note(
    `${count(ranks, 'rank')} on ${count(hosts, 'host')}, ${each}, ${library}; ` +
      `kill -INT ${pid} on ${host} saves and stops`,
  )
  if (ranks === 1) note('this process is alone: mpirun or srun starts several')
  if (kernels.length === 1) return
  const names = kernels.join(', ')
  note(`the processors differ (${names}): the bits of the weights depend on who computes what`)
}
