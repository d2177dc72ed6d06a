const utf8 = new TextEncoder()

/** SentencePiece's stand-in for a space. */
export const metaspace = '\u2581'

/** The UTF-8 of a piece that is no byte token. */
export function readSentencePiece(piece: string): Uint8Array {
  return utf8.encode(piece.replaceAll(metaspace, ' '))
}

/** The byte that "<0x41>" stands for, for example; undefined if `piece` is no byte token. */
export function byteOf(piece: string): number | undefined {
  const isByte = piece.length === 6 && /^<0x[0-9A-F]{2}>$/.test(piece)
  return isByte ? Number(piece.slice(1, -1)) : undefined
}
