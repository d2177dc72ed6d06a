import { createHash } from 'node:crypto'
import type { OpenELM } from '../model.js'

const numTokens = 32

/** Stands for a model in its number format: what it computes for a few tokens of the whole vocabulary. */
export async function fingerprintOf(model: OpenELM, signal?: AbortSignal): Promise<string> {
  const { vocabSize } = model.config
  const length = Math.min(numTokens, model.contextLength)
  const tokens = Int32Array.from({ length }, (_, i) => Math.floor((i * vocabSize) / length))
  using session = model.createSession({ contextLength: length })
  return createHash('sha256')
    .update(await session.append(tokens, { signal }))
    .digest('hex')
}
