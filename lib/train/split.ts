import { join } from 'node:path'
import { invalidArgument, OpenELMError } from '../errors.js'
import { readJsonObject } from '../files.js'
import { isJsonObject } from '../strict-json.js'
import { mostStateBytes, stateName } from './training-checkpoint.js'

/** What the split of a run follows from. */
export interface SplitChoice {
  /** What the options say. */
  readonly split: number | undefined
  /** The checkpoint that is resumed. */
  readonly newest: string | undefined
  readonly batchSize: number
  readonly ranks: number
}

/**
 * In how many parts the gradient of a step is summed: what was asked for, or as the resumed run has it,
 * or one for each rank.
 *
 * @throws OpenELMError INVALID_ARGUMENT when it does not divide the batch or does not fit the ranks.
 */
export async function chooseSplit(choice: SplitChoice): Promise<number> {
  const { newest, batchSize, ranks } = choice
  const split = choice.split ?? (newest === undefined ? ranks : await splitOf(newest))
  if (batchSize % split !== 0) {
    throw invalidArgument('options.split', `a divisor of the batch size, ${batchSize}`, split)
  }
  if (!fits(split, ranks)) {
    const allowed = Array.from({ length: split }, (_, i) => split - i).filter(n => fits(split, n))
    const what = `with a split of ${split}, expected ${allowed.join(', ')} ranks, received ${ranks}`
    throw new OpenELMError('INVALID_ARGUMENT', what, { argument: 'options.split' })
  }
  return split
}

/** What a recipe keeps of it: runs that are not split are as those of versions that could not. */
export function keptSplit(split: number): number | undefined {
  return split === 1 ? undefined : split
}

/** Whether the sums of so many ranks are those of one. */
function fits(split: number, ranks: number): boolean {
  const each = split / ranks
  return ranks === 1 || (Number.isInteger(each) && Number.isInteger(Math.log2(each)))
}

async function splitOf(checkpoint: string): Promise<number> {
  const file = join(checkpoint, stateName)
  const { recipe } = await readJsonObject(file, mostStateBytes, 'INVALID_CHECKPOINT')
  const split = isJsonObject(recipe) ? (recipe.split ?? 1) : 1
  if (Number.isInteger(split) && (split as number) >= 1) return split as number
  throw new OpenELMError('INVALID_CHECKPOINT', `${file}: expected split to be an integer from 1`)
}
