/** An MPI library of this machine. */
export interface NativeMpiLibrary {
  path: string
  /** What it says of itself, such as 'Open MPI v4.1.4'. */
  version: string
}

/**
 * The ranks that mpirun or srun has started. MPI belongs to the process: one environment has it, until
 * the process ends.
 */
export interface NativeGroup {
  /** Opens the library at a path, or finds one when that is empty, and waits for the other ranks. */
  joinGroup(
    path: string,
    timeoutSeconds: number,
  ): Promise<{ rank: number; size: number; version: string }>
  /** Messages from one rank to another come in the order in which they were sent. */
  sendToRank(rank: number, bytes: Uint8Array): Promise<void>
  receiveFromRank(rank: number): Promise<Uint8Array>
  /** While a run is under way, a rank that is silent for the timeout makes all calls reject with RANK_LOST. */
  watchRanks(isRunning: boolean): void
  /** For the end of the process: in the middle of a run it ends at once, and the others with it. */
  leaveGroup(exitCode: number): void
  mpiLibraries(): NativeMpiLibrary[]
  /** How many ranks the launcher says there are, in which variable; '' without one. */
  launcherSize(): { variable: string; size: number }
}
