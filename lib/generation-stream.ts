/** A token, and how likely the model finds it. */
export interface TokenLogprob {
  readonly token: number
  /** Natural logarithm of the probability that the model itself gives the token. */
  readonly logprob: number
}

/** A token that a sampler drew. */
export interface Sample {
  readonly token: number
  /** Only with `logprobs` above 0. */
  readonly logprob?: number
  /** The likeliest tokens, most likely first. Only with `logprobs` above 0. */
  readonly topLogprobs?: readonly TokenLogprob[]
}

/** One generated token. */
export interface GenerateChunk extends Sample {
  /**
   * The text that is now certain: whole characters, and none that may begin a stop sequence. Often the
   * token's own, sometimes '', sometimes that of several tokens.
   */
  readonly text: string
}

/** What a generation made, and what it took. */
export interface GenerateResult {
  /** The generated text, without the prompt. */
  readonly text: string
  /** The generated tokens, with those that ended them: an end-of-text or stop token, or a stop sequence. */
  readonly tokens: number[]
  /**
   * 'stop': an end-of-text token, a stop token or a stop sequence came; 'length': maxTokens or the
   * context was reached.
   */
  readonly finishReason: 'stop' | 'length'
  readonly usage: {
    /** Tokens of the prompt. */
    readonly promptTokens: number
    /** How many of them the session's cache held already, so that they cost nothing. */
    readonly cachedTokens: number
    /** Generated tokens. */
    readonly completionTokens: number
    /** How many of those were guessed. Only with `draftModel` or `promptLookup`. */
    readonly acceptedDraftTokens?: number
  }
  readonly timings: {
    /** Milliseconds to the first token. */
    readonly prefillMs: number
    /** Milliseconds that were spent waiting for the other tokens. */
    readonly decodeMs: number
    readonly prefillTokensPerSecond: number
    readonly decodeTokensPerSecond: number
  }
}

/**
 * The tokens of a generation as they come. The work begins with the first `next()`, which `for await`
 * calls; leaving the loop ends the work and gives its memory back.
 */
export type GenerationStream = AsyncGenerator<GenerateChunk, GenerateResult> & {
  /**
   * The whole result, once the last chunk was taken: `for await` alone would lose it. Rejects as the
   * stream does, and with an AbortError when the stream is left before its end. Nobody has to look at it.
   */
  readonly result: Promise<GenerateResult>
}

type Step = IteratorResult<GenerateChunk, GenerateResult>

/** Gives a generator its `result`. */
export function generationStream(
  chunks: AsyncGenerator<GenerateChunk, GenerateResult>,
): GenerationStream {
  let resolve: (result: GenerateResult) => void
  let reject: (reason: unknown) => void
  const result = new Promise<GenerateResult>((whenDone, whenFailed) => {
    resolve = whenDone
    reject = whenFailed
  })
  result.catch(() => {})
  const watch = async (step: Promise<Step>): Promise<Step> => {
    try {
      const taken = await step
      if (taken.done) resolve(taken.value)
      return taken
    } catch (error) {
      reject(error)
      throw error
    }
  }
  const leave = () => reject(new DOMException('the stream was left before its end', 'AbortError'))
  return {
    result,
    next: () => watch(chunks.next()),
    async return(value) {
      const step = await chunks.return(value)
      leave()
      return step
    },
    throw: error => watch(chunks.throw(error)),
    [Symbol.asyncIterator]() {
      return this
    },
    async [Symbol.asyncDispose]() {
      await this.return(undefined as never)
    },
  }
}

/** Takes all chunks. */
export async function resultOf(stream: GenerationStream): Promise<GenerateResult> {
  for (;;) {
    const { done, value } = await stream.next()
    if (done) return value
  }
}
