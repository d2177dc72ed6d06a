/**
 * How a byte-level vocabulary writes bytes: one that is a printable Latin-1 character as that
 * character, and the others, in order, as the characters from U+0100 on.
 */
export const byteLevelCharacters: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return isPrintable(character) ? character : String.fromCharCode(0x100 + countUnprintable(byte))
})

export const byteLevelBytes: ReadonlyMap<string, number> = new Map(
  byteLevelCharacters.map((character, byte) => [character, byte]),
)

function isPrintable(character: string): boolean {
  return /[!-~\xa1-\xac\xae-\xff]/.test(character)
}

/** How many of the bytes below `end` are not printable. */
function countUnprintable(end: number): number {
  const characters = Array.from({ length: end }, (_, byte) => String.fromCharCode(byte))
  return characters.filter(character => !isPrintable(character)).length
}
