import type { Steps } from '../../steps.js'
import type { Tokenizer } from '../../tokenizer.js'
import type { Example } from './example.js'
import type { Part } from './templates.js'

/**
 * The tokens of a sample behind one BOS, and which of them are learnt. A token that belongs to what is
 * learnt and to what is not, is learnt.
 *
 * @param trainPrompts whether everything behind BOS is learnt.
 */
export function* encodeExample(
  parts: readonly Part[],
  tokenizer: Tokenizer,
  trainPrompts = false,
): Steps<Example> {
  const tokens = [tokenizer.bosTokenId]
  const targets = [false]
  for (const part of parts) {
    if ('token' in part) {
      tokens.push(part.token)
      targets.push(trainPrompts || part.isLearnt)
      continue
    }
    const { text, learntFrom } = part
    const encoded = yield* tokenizer.encodeInSteps([text], { addBos: false })
    const border = trainPrompts ? 0 : yield* borderIn(encoded, text, learntFrom, tokenizer)
    for (const [i, token] of encoded.entries()) {
      tokens.push(token)
      targets.push(i >= border)
    }
  }
  return { tokens: Int32Array.from(tokens), targets: Uint8Array.from(targets, Number) }
}

/**
 * The first token of a text that is not wholly one of its first `length` characters: the first that
 * these alone would not have. No marker is searched for, as its tokens depend on what is around it.
 */
function* borderIn(
  encoded: readonly number[],
  text: string,
  length: number,
  tokenizer: Tokenizer,
): Steps<number> {
  if (length === 0) return 0
  if (length === text.length) return encoded.length
  const alone = yield* tokenizer.encodeInSteps([text.slice(0, length)], { addBos: false })
  const differs = alone.findIndex((token, i) => token !== encoded[i])
  return differs < 0 ? alone.length : differs
}

/**
 * The first `length` tokens of an example, without what lies behind the last target, from which nothing
 * is learnt; undefined when no target is left. One that was cut does not end in EOS, as its text does not
 * end there.
 */
export function fitExample({ tokens, targets }: Example, length: number): Example | undefined {
  const end = targets.lastIndexOf(1, length - 1) + 1
  if (end === 0) return undefined
  return { tokens: tokens.subarray(0, end), targets: targets.subarray(0, end) }
}
