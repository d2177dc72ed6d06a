/**
 * A token that a tokenizer.json adds to its vocabulary. It is found in the text as it is written, before
 * anything is merged.
 */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Found only where the caller asks for special tokens. */
  readonly special: boolean
  /** Takes the white space in front of it along. */
  readonly lstrip: boolean
  /** Takes the white space behind it along. */
  readonly rstrip: boolean
  /** Found only where no letter, digit or underscore is beside it. */
  readonly singleWord: boolean
  /** Found in the normalised text, in its normalised form. */
  readonly normalized: boolean
}

/** A token, a text that stands between tokens, or '', which is a place to pause. */
type Section = AddedToken | string

/** Finds added tokens in a text: the leftmost first, and the longest of those that begin together. */
export class AddedTokenFinder {
  readonly #tokens: ReadonlyMap<string, AddedToken>
  readonly #pattern: RegExp | undefined
  readonly #longest: number
  readonly #windowLength: number

  /**
   * @param tokens by the text that stands for them.
   * @param windowLength how much text is searched between two places to pause.
   */
  constructor(tokens: ReadonlyMap<string, AddedToken>, windowLength = 16384) {
    // A text that is not well-formed is never searched.
    const texts = [...tokens.keys()].filter(text => text !== '' && !/\p{Surrogate}/u.test(text))
    texts.sort((a, b) => b.length - a.length)
    this.#tokens = tokens
    this.#windowLength = windowLength
    this.#longest = texts[0]?.length ?? 0
    this.#pattern =
      texts.length > 0 ? new RegExp(texts.map(escapePattern).join('|'), 'gu') : undefined
  }

  /** Cuts a text into its sections, in order. */
  *split(text: string): Generator<Section> {
    let sectionStart = 0
    for (const match of this.#find(text)) {
      if (match === '') {
        yield ''
        continue
      }
      const { index, length, token } = match
      let start = index
      let end = index + length
      if (token.singleWord && (isWordBefore(text, start) || isWordAt(text, end))) continue
      if (token.lstrip) while (start > sectionStart && isSpace(text[start - 1])) start--
      if (token.rstrip) while (isSpace(text[end])) end++
      if (sectionStart < start) yield text.slice(sectionStart, start)
      yield token
      sectionStart = end
    }
    if (sectionStart < text.length) yield text.slice(sectionStart)
  }

  /** Searches window by window, so that it can pause where the text holds no token. */
  *#find(text: string): Generator<'' | { index: number; length: number; token: AddedToken }> {
    const pattern = this.#pattern
    const windowLength = this.#windowLength
    if (pattern === undefined) return
    let from = 0
    for (let begin = 0; begin < text.length; begin += windowLength) {
      // A token that begins in the window may end behind it.
      const window = text.slice(begin, begin + windowLength + this.#longest)
      pattern.lastIndex = Math.max(0, from - begin)
      for (const { index, 0: found } of window.matchAll(pattern)) {
        if (index >= windowLength) break
        from = begin + index + found.length
        yield { index: begin + index, length: found.length, token: this.#tokens.get(found)! }
      }
      yield ''
    }
  }
}

/** What finds added tokens in a text and in its normalised form. */
export interface AddedTokens {
  inText: AddedTokenFinder
  inNormalized: AddedTokenFinder
}

/**
 * @param normalize gives the normalised form of a text.
 * @returns the finders for texts whose special tokens are to be found, and for other texts.
 */
export function findersOf(
  tokens: readonly AddedToken[],
  normalize: (text: string) => string,
): { withSpecial: AddedTokens; withoutSpecial: AddedTokens } {
  const finders = (tokens: readonly AddedToken[]): AddedTokens => {
    const plain = tokens.filter(token => !token.normalized)
    const normalized = tokens.filter(token => token.normalized)
    return {
      inText: new AddedTokenFinder(new Map(plain.map(token => [token.content, token]))),
      inNormalized: new AddedTokenFinder(
        new Map(normalized.map(token => [normalize(token.content), token])),
      ),
    }
  }
  return {
    withSpecial: finders(tokens),
    withoutSpecial: finders(tokens.filter(token => !token.special)),
  }
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /\p{White_Space}/u.test(character)
}

const word = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'
const beginsWithWord = new RegExp(`^${word}`, 'u')
const endsWithWord = new RegExp(`${word}$`, 'u')

// A character has at most two UTF-16 units.
function isWordBefore(text: string, index: number): boolean {
  return endsWithWord.test(text.slice(Math.max(0, index - 2), index))
}

function isWordAt(text: string, index: number): boolean {
  return beginsWithWord.test(text.slice(index, index + 2))
}
