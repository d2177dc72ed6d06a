import type { Session } from '../session.js'

/** How likely a continuation is. */
export interface Answer {
  /** The sum of the natural logarithms of the probabilities of its tokens. */
  readonly logprob: number
  /** Whether each of its tokens is the first of the likeliest in its place. */
  readonly isGreedy: boolean
}

/** What is used of a session. */
export type ScoringSession = Pick<Session, 'contextLength' | 'append' | 'score' | 'rewind'>

/**
 * Scores continuations of one context, which is read once, and of which only that is computed that the
 * session does not hold from the call before.
 *
 * What comes of a continuation depends on its tokens and those of the context alone.
 *
 * @param context at most as many tokens as the session can hold; with a continuation at most one more.
 */
export async function scoreContinuations(
  session: ScoringSession,
  context: Int32Array,
  continuations: readonly Int32Array[],
  signal?: AbortSignal,
): Promise<Answer[]> {
  session.rewind(0)
  const scoreNext = nextScorer(await session.append(context, { signal }))
  const answers: Answer[] = []
  for (const continuation of continuations) {
    if (continuation.length === 1) answers.push(scoreNext(continuation[0]!))
    else if (context.length + continuation.length <= session.contextLength) {
      answers.push(await session.score(continuation, { signal }))
    } else {
      const most = continuation.slice(0, -1)
      const first = await session.score(most, { signal })
      const scoreLast = nextScorer(await session.append(most, { signal }))
      const last = scoreLast(continuation.at(-1)!)
      session.rewind(context.length)
      answers.push({
        logprob: first.logprob + last.logprob,
        isGreedy: first.isGreedy && last.isGreedy,
      })
    }
  }
  return answers.map(({ logprob, isGreedy }) => ({ logprob, isGreedy }))
}

/** Scores single tokens by the scores of all, which are added up once. */
function nextScorer(logits: Float32Array): (token: number) => Answer {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - logits[best]!)
  const logSum = Math.log(sum)
  return token => ({
    logprob: logits[token]! - logits[best]! - logSum,
    isGreedy: token === best,
  })
}
