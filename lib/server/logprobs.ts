import type { Sample, Tokenizer, TokenLogprob } from '../index.js'

/** A token of a text; the first of a prompt has no log-probability. */
export type ScoredToken = Omit<Sample, 'logprob'> & { readonly logprob?: number | undefined }

/**
 * What a token is called: its text, or where it has none of its own (control tokens, parts of characters)
 * the name that the vocabulary has for it, such as '<0xE2>'.
 */
export function tokenName(tokenizer: Tokenizer, token: number): string {
  const text = tokenizer.decode([token], { continuation: true })
  return text === '' || text.includes('\ufffd') ? (tokenizer.idToToken(token) ?? '') : text
}

/** The `logprobs` of a text completion, for the tokens of a choice as they come. */
export class CompletionLogprobs {
  readonly #tokenizer: Tokenizer
  readonly #top: number
  readonly #characters
  #offset = 0

  /**
   * @param top how many of the likeliest tokens are reported.
   * @param continuation whether the tokens continue a text that is not reported.
   */
  constructor(tokenizer: Tokenizer, top: number, continuation: boolean) {
    this.#tokenizer = tokenizer
    this.#top = top
    this.#characters = tokenizer.stream({ continuation })
  }

  format(tokens: readonly ScoredToken[]): object {
    const offsets = tokens.map(({ token }) => {
      const offset = this.#offset
      this.#offset += this.#characters.push(token).length
      return offset
    })
    return {
      tokens: tokens.map(({ token }) => tokenName(this.#tokenizer, token)),
      token_logprobs: tokens.map(({ logprob = null }) => logprob),
      top_logprobs: tokens.map(({ topLogprobs, logprob }) =>
        topLogprobs && logprob !== undefined ? this.#byName(topLogprobs) : null,
      ),
      text_offset: offsets,
    }
  }

  /** Where two tokens have one name, the likelier one has it: it comes first. */
  #byName(topLogprobs: readonly TokenLogprob[]): object {
    const byName = new Map<string, number>()
    for (const { token, logprob } of topLogprobs.slice(0, this.#top)) {
      const name = tokenName(this.#tokenizer, token)
      if (!byName.has(name)) byName.set(name, logprob)
    }
    return Object.fromEntries(byName)
  }
}

/** The `logprobs` of a chat completion. */
export function chatLogprobs(tokenizer: Tokenizer, top: number, tokens: readonly Sample[]): object {
  const describe = ({ token, logprob }: { token: number; logprob?: number }) => ({
    token: tokenName(tokenizer, token),
    logprob,
    bytes: tokenBytes(tokenizer, token),
  })
  return {
    content: tokens.map(sample => ({
      ...describe(sample),
      top_logprobs: (sample.topLogprobs ?? []).slice(0, top).map(describe),
    })),
    refusal: null,
  }
}

/** The bytes of a token's text, of which a character may have several tokens; null where they are unknown. */
function tokenBytes(tokenizer: Tokenizer, token: number): number[] | null {
  const text = tokenizer.decode([token], { continuation: true })
  if (text !== '' && !text.includes('\ufffd')) return [...Buffer.from(text)]
  const byte = /^<0x([0-9A-F]{2})>$/.exec(tokenizer.idToToken(token) ?? '')?.[1]
  return byte === undefined ? null : [Number.parseInt(byte, 16)]
}
