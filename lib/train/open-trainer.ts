import { totalmem } from 'node:os'
import { OpenELMError } from '../errors.js'
import type { NativeTrainerOptions } from '../native-trainer.js'
import type { Cluster } from './cluster.js'
import { ClusterTrainer } from './cluster-trainer.js'
import { LocalTrainer } from './local-trainer.js'
import type { Trainer } from './trainer.js'

/**
 * Makes the trainer of a run: of this process, or of all ranks.
 *
 * @param memory bytes that each process needs.
 * @param advice what would need less.
 * @throws OpenELMError OUT_OF_MEMORY before anything is allocated, when it cannot fit.
 */
export async function openTrainer(
  cluster: Cluster | undefined,
  options: NativeTrainerOptions,
  memory: number,
  advice: string,
): Promise<Trainer> {
  if (cluster) return ClusterTrainer.create(cluster, options, memory)
  if (memory > totalmem()) {
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
    const what = `training needs ${gigabytes(memory)} of memory, of ${gigabytes(totalmem())}`
    throw new OpenELMError('OUT_OF_MEMORY', `${what}; ${advice} needs less`)
  }
  return new LocalTrainer(options)
}
