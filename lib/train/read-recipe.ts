import { OpenELMError } from '../errors.js'
import { readJsonObject } from '../files.js'
import { type FinetuneOptions, isFinetuneOption } from './finetune-recipe.js'
import type { RankOptions } from './on-ranks.js'
import { isRecipeOption, type TrainOptions } from './recipe.js'

/** The options of {@link TrainOptions} that a file can hold. */
export type RecipeOptions = Partial<
  Omit<
    TrainOptions,
    'config' | 'tokenizer' | 'from' | 'out' | 'signal' | 'onTokenizerProgress' | keyof RankOptions
  >
>

/**
 * Reads options of `train` from a file: one JSON object of at most 1 MiB, with the names of
 * {@link TrainOptions}. `train` checks the values.
 *
 * @throws OpenELMError IO_ERROR when it cannot be read, INVALID_CONFIG when it is not such an object, has
 *   a name twice, or one that a recipe does not have.
 */
export function readRecipe(file: string): Promise<RecipeOptions> {
  return readOptionsOf(file, isRecipeOption)
}

/**
 * The same of `finetune`, with the names of {@link FinetuneOptions}.
 *
 * @throws OpenELMError IO_ERROR, INVALID_CONFIG
 */
export function readFinetuneRecipe(file: string): Promise<Partial<FinetuneOptions>> {
  return readOptionsOf(file, isFinetuneOption)
}

async function readOptionsOf(file: string, isOption: (name: string) => boolean) {
  const recipe = await readJsonObject(file, 2 ** 20, 'INVALID_CONFIG')
  const unknown = Object.keys(recipe).find(name => !isOption(name))
  if (unknown === undefined) return recipe
  throw new OpenELMError('INVALID_CONFIG', `${file}: there is no option ${unknown}`)
}
