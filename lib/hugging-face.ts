import type { JsonObject } from './strict-json.js'

/**
 * What is used of the package @huggingface/tokenizers, which is imported only where a tokenizer.json is
 * read. Its own types would reach users through this package's, and do not compile everywhere.
 */
export interface HuggingFaceTokenizers {
  readonly Tokenizer: new (json: object, config: object) => unknown
}

interface LibraryParts {
  normalizer: { normalize(text: string): string } | null
  pre_tokenizer: LibraryPreTokenizer | null
}

interface LibraryPreTokenizer {
  pre_tokenize(text: string, options: { section_index: number }): string[]
  /** Of those that are a pattern. */
  pattern?: RegExp | null
}

/**
 * The library's normalizer or pre-tokenizer of that description.
 *
 * @throws Error when it knows none of that type.
 */
export function libraryParts(
  library: HuggingFaceTokenizers,
  description: { normalizer?: JsonObject; pre_tokenizer?: JsonObject },
): LibraryParts {
  const json = {
    normalizer: null,
    pre_tokenizer: null,
    ...description,
    model: { type: 'BPE', vocab: {}, merges: [] },
    post_processor: null,
    decoder: null,
    added_tokens: [],
  }
  return new library.Tokenizer(json, {}) as LibraryParts
}
