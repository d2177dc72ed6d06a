import type { OpenELMConfig } from './config.js'
import { describeJson } from './strict-json.js'

/** What a tokenizer has to know of its model. */
export type TokenizerModel = Pick<OpenELMConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenId'> & {
  /** The tokens that end a text. Default `eosTokenId` alone. */
  readonly eosTokenIds?: readonly number[]
}

/** Throws an Error in one sentence shape; whoever catches it says which tokenizer it is about. */
export function check(ok: boolean, what: string, expected: string, received: unknown): asserts ok {
  if (!ok) throw new Error(`expected ${what} to be ${expected}, received ${describeJson(received)}`)
}

export function checkId(id: unknown, { vocabSize }: TokenizerModel): asserts id is number {
  const ok = Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  check(ok, 'a token id', `one of the ${vocabSize} of the model`, id)
}
