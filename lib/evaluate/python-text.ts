// Functions of Python on texts, where those of JavaScript differ.

/** What Python takes for white space. `\s` has U+FEFF as well, but not U+001C to U+001F and U+0085. */
const space =
  '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const leadingSpace = new RegExp(`^${space}+`)
const isSpace = new RegExp(`^${space}$`)

export function stripStart(text: string): string {
  return text.replace(leadingSpace, '')
}

/** Not by a regular expression: that takes quadratic time for white space in the middle of a text. */
export function stripEnd(text: string): string {
  let end = text.length
  while (end > 0 && isSpace.test(text[end - 1]!)) end--
  return text.slice(0, end)
}

export function strip(text: string): string {
  return stripStart(stripEnd(text))
}

/**
 * The first character in upper case, all others in lower case. Of a character that becomes several only
 * the first is raised: ß becomes Ss.
 */
export function capitalize(text: string): string {
  const [first = ''] = text
  const [upper = '', ...others] = first.toUpperCase()
  const lower = text.toLowerCase().slice(first.toLowerCase().length)
  return upper + others.join('').toLowerCase() + lower
}

/** The length of a text as Python counts it, in code points. */
export function lengthOf(text: string): number {
  let length = 0
  for (const _ of text) length++
  return length
}
