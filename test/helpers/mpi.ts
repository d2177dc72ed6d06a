import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { addon, main } from './cli.js'

/** The launchers of both families of MPI, as Debian names them. */
export const launchers = {
  'Open MPI': ['mpirun.openmpi', '--oversubscribe', '--bind-to', 'none'],
  MPICH: ['mpirun.mpich'],
} as const

export type LauncherName = keyof typeof launchers
export const launcherNames = Object.keys(launchers) as LauncherName[]

/** Why a launcher's tests are left out; false where it is, and in CI, where it must be. */
export function skipWithout(name: LauncherName): string | false {
  const [command] = launchers[name]
  const isThere = spawnSync(command, ['--version']).error === undefined
  return !isThere && !process.env.CI && `there is no ${command}`
}

/** tap would have each process load its compiler. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS, ...env } = process.env
  const asRoot = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' }
  return { ...env, ...asRoot, OPENELM_ADDON: addon }
}

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** Starts a command of so many ranks. */
export function startRanks(
  name: LauncherName,
  ranks: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv = {},
) {
  const [launcher, ...options] = launchers[name]
  const args = [...options, '-n', String(ranks), ...command]
  return spawn(launcher, args, {
    env: { ...plainEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
}

export async function outcomeOf(child: ReturnType<typeof startRanks>): Promise<Outcome> {
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, 'close'),
  ])
  return { code, signal, stdout, stderr }
}

/** Runs `openelm` on so many ranks. */
export function runRanks(name: LauncherName, ranks: number, ...args: string[]): Promise<Outcome> {
  return outcomeOf(startRanks(name, ranks, [process.execPath, main, ...args]))
}
