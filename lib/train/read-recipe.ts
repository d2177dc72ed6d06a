import { OpenELMError } from '../errors.js'
import { readJsonObject } from '../files.js'
import { isRecipeOption, type TrainOptions } from './recipe.js'

/** The options of {@link TrainOptions} that a file can hold. */
export type RecipeOptions = Partial<
  Omit<TrainOptions, 'config' | 'tokenizer' | 'out' | 'signal' | 'onTokenizerProgress'>
>

/**
 * Reads options of `train` from a file: one JSON object of at most 1 MiB, with the names of
 * {@link TrainOptions}. `train` checks the values.
 *
 * @throws OpenELMError IO_ERROR when it cannot be read, INVALID_CONFIG when it is not such an object, has
 *   a name twice, or one that a recipe does not have.
 */
export async function readRecipe(file: string): Promise<RecipeOptions> {
  const recipe = await readJsonObject(file, 2 ** 20, 'INVALID_CONFIG')
  const unknown = Object.keys(recipe).find(name => !isRecipeOption(name))
  if (unknown === undefined) return recipe
  throw new OpenELMError('INVALID_CONFIG', `${file}: there is no option ${unknown}`)
}
