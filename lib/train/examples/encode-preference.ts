import { withSystem } from '../../chat/encode-chat.js'
import { zephyr } from '../../chat/template.js'
import type { Steps } from '../../steps.js'
import type { Tokenizer } from '../../tokenizer.js'
import { encodeExample } from './encode-example.js'
import type { Example } from './example.js'
import { conversationOf, type Sample, type SamplePair } from './sample.js'
import { promptAndAnswer, type RenderOptions, renderSample } from './templates.js'

export interface PreferenceOptions extends RenderOptions {
  /** The most tokens of an example. */
  readonly sequenceLength: number
  /** The most tokens of its prompt when the example is too long. */
  readonly maxPromptLength: number
}

interface Preference {
  readonly row: readonly [chosen: Example, rejected: Example]
  readonly isTruncated: boolean
}

/**
 * Two answers to a prompt, of which the last message is learnt, without its marker and with the token
 * that ends it. When one is too long, both lose tokens of the prompt behind BOS, as many as must be but
 * not below `maxPromptLength`, and then the end of the answers.
 */
export function* encodePreference(
  { chosen, rejected }: SamplePair,
  tokenizer: Tokenizer,
  options: PreferenceOptions,
): Steps<Preference> {
  const last = { ...options, answers: 'last' } as const
  const encode = (sample: Sample) => encodeExample(renderSample(sample, tokenizer, last), tokenizer)
  const pair = [yield* encode(chosen), yield* encode(rejected)] as const
  const { sequenceLength, maxPromptLength } = options
  const prompt = Math.min(...pair.map(({ targets }) => targets.indexOf(1)))
  const answer = Math.max(...pair.map(({ tokens }) => tokens.length)) - prompt
  const room = Math.max(sequenceLength - answer, Math.min(maxPromptLength, sequenceLength - 1))
  const lost = Math.max(0, prompt - room)
  const cut = ({ tokens, targets }: Example): Example => {
    const kept = (_: number, i: number) => i === 0 || (i > lost && i < lost + sequenceLength)
    return { tokens: tokens.filter(kept), targets: targets.filter(kept) }
  }
  const isTruncated = prompt + answer > sequenceLength
  return { row: isTruncated ? [cut(pair[0]), cut(pair[1])] : pair, isTruncated }
}

/**
 * The same as TRL 0.8.2 did it, which tuned the Instruct models: the marker before an answer is learnt, as
 * are the line break behind the token that ends it and one more such token. What is too long loses the
 * beginning of its prompt, BOS among it, and then the end of its answer.
 */
export function* encodePreferenceExactly(
  { chosen, rejected }: SamplePair,
  tokenizer: Tokenizer,
  options: PreferenceOptions,
): Steps<Preference> {
  const { sequenceLength, maxPromptLength } = options
  const pair = [
    yield* exactParts(chosen, tokenizer, options),
    yield* exactParts(rejected, tokenizer, options),
  ] as const
  const longest = Math.max(...pair.map(({ answer }) => answer.length))
  const isTooLong = ({ length }: readonly number[]) => length + longest > sequenceLength
  const fit = ({ prompt, answer }: ExactParts): Example => {
    const asked = isTooLong(prompt) ? prompt.slice(-maxPromptLength) : prompt
    const room = isTooLong(asked) ? sequenceLength - maxPromptLength : answer.length
    const tokens = Int32Array.from([...asked, ...answer.slice(0, room)])
    return { tokens, targets: Uint8Array.from(tokens, (_, i) => Number(i >= asked.length)) }
  }
  return {
    row: [fit(pair[0]), fit(pair[1])],
    isTruncated: pair.some(({ prompt }) => isTooLong(prompt)),
  }
}

interface ExactParts {
  /** With BOS. */
  readonly prompt: readonly number[]
  /** With the second EOS. */
  readonly answer: readonly number[]
}

function* exactParts(
  sample: Sample,
  tokenizer: Tokenizer,
  options: PreferenceOptions,
): Steps<ExactParts> {
  const [prompt, whole] = exactTexts(sample, tokenizer, options)
  const asked = yield* tokenizer.encodeInSteps(prompt, { addBos: false })
  const all = yield* tokenizer.encodeInSteps(whole, { addBos: false })
  const isBeginning = asked.every((token, i) => token === all[i])
  const start = isBeginning ? asked.length : asked.length - 1
  return {
    prompt: [tokenizer.bosTokenId, ...all.slice(0, start)],
    answer: [...all.slice(start), tokenizer.eosTokenId],
  }
}

type Texts = readonly (string | number)[]

/** The prompt, and the prompt with the answer. */
function exactTexts(
  sample: Sample,
  tokenizer: Tokenizer,
  { template, system }: RenderOptions,
): [prompt: Texts, whole: Texts] {
  if (template !== 'zephyr' || sample.kind === 'text') {
    const [prompt, answer] = promptAndAnswer(sample, template)
    return [[prompt], [prompt + answer]]
  }
  const defaults = system === null ? {} : { defaultSystem: system }
  const messages = withSystem(defaults, conversationOf(sample))
  const render = (said: typeof messages) => zephyr.render(said, tokenizer, false)
  return [render(messages.slice(0, -1)), render(messages)]
}
