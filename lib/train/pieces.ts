/** What becomes of a document before it is tokenised; the defaults are those of OpenELM's training. */
export interface PieceOptions {
  /** Words of a piece; a word is what spaces delimit. Default 2048. */
  wordsPerPiece?: number | undefined
  /**
   * Pieces with fewer characters are left out. Counted in lower case, without ASCII punctuation, white
   * space as one space. Default 200.
   */
  minCharacters?: number | undefined
}

/** Normalises documents (NFC) and cuts them into pieces, each a sample of its own. */
export function* cutIntoPieces(
  documents: Iterable<string>,
  { wordsPerPiece = 2048, minCharacters = 200 }: PieceOptions = {},
): Generator<string> {
  for (const document of documents) {
    const words = document.normalize('NFC').split(' ')
    for (let begin = 0; begin < words.length; begin += wordsPerPiece) {
      const piece = words.slice(begin, begin + wordsPerPiece).join(' ')
      if (countCharacters(piece) >= minCharacters) yield piece
    }
  }
}

function countCharacters(piece: string): number {
  const bare = piece
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, '')
    .replace(/\s+/g, ' ')
  return [...bare.trim()].length
}
