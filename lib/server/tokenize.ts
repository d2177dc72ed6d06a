import type { Tokenizer } from '../index.js'
import { boolean, isArrayOfIntegers, optional, type RulesOf, rule, string } from '../options.js'
import type { Context, Exchange } from './context.js'
import { sendJson } from './event-stream.js'
import { readParameters } from './parameters.js'

const tokenizeRules = {
  prompt: string,
  add_special_tokens: optional(boolean, true),
} satisfies RulesOf<Record<string, unknown>>

const detokenizeRules = {
  tokens: rule('an array of token ids', isArrayOfIntegers),
} satisfies RulesOf<Record<string, unknown>>

/** `POST /tokenize`, in vLLM's shape. */
export async function tokenize({ context, body, res, signal }: Exchange): Promise<void> {
  const { prompt, add_special_tokens: addBos } = readParameters(body, tokenizeRules)
  const { tokenizer, contextLength } = context.model
  // lm-evaluation-harness asks in this way for the ids of the tokens that /tokenizer_info names.
  const special = Object.values(specialTokens(tokenizer)).includes(prompt)
  const tokens = await tokenizer.encodeAsync(prompt, {
    addBos: addBos && !special,
    special,
    signal,
  })
  sendJson(res, 200, {
    count: tokens.length,
    max_model_len: contextLength,
    tokens,
    token_strs: null,
  })
}

/** `POST /detokenize` */
export async function detokenize({ context, body, res }: Exchange): Promise<void> {
  const { tokens } = readParameters(body, detokenizeRules)
  const prompt = context.model.tokenizer.decode(Array.from(tokens) as number[])
  sendJson(res, 200, { prompt })
}

/** `GET /tokenizer_info` */
export function tokenizerInfo({ model }: Context): object {
  return { ...specialTokens(model.tokenizer), pad_token: null, chat_template: null }
}

function specialTokens(tokenizer: Tokenizer): Record<string, string | null> {
  const { bosTokenId, eosTokenId } = tokenizer
  return {
    bos_token: tokenizer.idToToken(bosTokenId) ?? null,
    eos_token: tokenizer.idToToken(eosTokenId) ?? null,
  }
}
