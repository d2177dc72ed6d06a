import type { PlainMessage } from '../../chat/message.js'

/** What a row says, in whatever format. */
export type Sample =
  | { readonly kind: 'conversation'; readonly messages: readonly PlainMessage[] }
  | { readonly kind: 'completion'; readonly prompt: string; readonly completion: string }
  | {
      readonly kind: 'instruction'
      readonly instruction: string
      /** What the instruction is about, or nothing. */
      readonly input: string
      readonly output: string
      readonly system: string | undefined
    }
  | { readonly kind: 'text'; readonly text: string }

/** Two answers to one prompt. */
export interface SamplePair {
  readonly chosen: Sample
  readonly rejected: Sample
}

/** The same sample as a conversation. */
export function conversationOf(sample: Exclude<Sample, { kind: 'text' }>): readonly PlainMessage[] {
  switch (sample.kind) {
    case 'conversation':
      return sample.messages
    case 'completion':
      return [
        { role: 'user', content: sample.prompt },
        { role: 'assistant', content: sample.completion },
      ]
    case 'instruction': {
      const { instruction, input, output, system } = sample
      const asked: PlainMessage[] = [
        { role: 'user', content: input === '' ? instruction : `${instruction}\n${input}` },
        { role: 'assistant', content: output },
      ]
      return system === undefined ? asked : [{ role: 'system', content: system }, ...asked]
    }
  }
}

/** What the model is to learn to say. */
export function answersOf(sample: Sample): readonly string[] {
  if (sample.kind === 'text') return [sample.text]
  return conversationOf(sample).flatMap(({ role, content }) =>
    role === 'assistant' ? content : [],
  )
}
