import { join } from 'node:path'
import { loadTokenizer, type Tokenizer } from '../tokenizer.js'
import { readTokenizerJson } from '../tokenizer-file.js'
import { Corpus } from './corpus.js'
import type { Recipe } from './recipe.js'
import { trainTokenizer } from './train-tokenizer.js'
import { listTraining } from './training-checkpoint.js'

/**
 * The tokenizer of a run, and what its tokenizer.json holds: the one that the options name; else the one
 * of the run that is resumed; else one learned from the data.
 */
export async function runTokenizer(recipe: Recipe): Promise<[json: object, Tokenizer]> {
  const source = recipe.tokenizer ?? (recipe.resume ? await keptTokenizer(recipe.out) : undefined)
  const json =
    source === undefined
      ? await learnTokenizer(recipe)
      : typeof source === 'string'
        ? await readTokenizerJson(source)
        : source
  return [json, await loadTokenizer(json, recipe.config)]
}

async function keptTokenizer(out: string): Promise<string | undefined> {
  const newest = (await listTraining(out)).at(-1)
  return newest && join(newest, 'tokenizer.json')
}

async function learnTokenizer({ data, config, signal, onTokenizerProgress }: Recipe) {
  const corpus = await Corpus.open(data, { minCharacters: 0 }, signal)
  const options = { signal, onProgress: onTokenizerProgress }
  return await trainTokenizer(corpus.withSpaces(), config.vocabSize, options)
}
