import { loadNative } from '../native.js'
import type { NativeTokenTables } from '../native-constraint.js'
import type { Steps } from '../steps.js'

/** The tokens of a vocabulary that stand for bytes. */
export interface TokenBytes {
  readonly vocabSize: number
  /** The UTF-8 of a token; nothing for those that have no text. */
  bytesOf(token: number): Uint8Array
}

export function* tokenTables({ vocabSize, bytesOf }: TokenBytes): Steps<NativeTokenTables> {
  const ends = new Int32Array(vocabSize)
  const texts: Uint8Array[] = []
  let end = 0
  for (let token = 0; token < vocabSize; token++) {
    if (token % 256 === 0) yield ''
    const bytes = bytesOf(token)
    texts.push(bytes)
    end += bytes.length
    ends[token] = end
  }
  return new (loadNative().TokenTables)(Buffer.concat(texts), ends)
}
