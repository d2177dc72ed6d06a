/** A conversation as a template writes it: texts, and token ids between them. */
export type Parts = readonly (string | number)[]

/** What comes behind the beginning of a conversation; undefined if it does not begin with that. */
export function partsAfter(parts: Parts, beginning: Parts): Parts | undefined {
  const last = beginning.length - 1
  for (const [i, part] of beginning.entries()) {
    const whole = parts[i]
    if (whole === part) continue
    const isBegun = typeof whole === 'string' && typeof part === 'string' && whole.startsWith(part)
    if (i < last || !isBegun) return undefined
    return [whole.slice(part.length), ...parts.slice(i + 1)]
  }
  return parts.slice(beginning.length)
}

/** A conversation that goes on with a text. */
export function addText(parts: Parts, text: string): Parts {
  const last = parts.at(-1)
  return typeof last === 'string' ? [...parts.slice(0, -1), last + text] : [...parts, text]
}

/** A conversation without a text of nothing but white space at its end: it begins the next turn. */
export function withoutSpaceAtEnd(parts: Parts): Parts {
  const last = parts.at(-1)
  return typeof last === 'string' && last.trim() === '' ? parts.slice(0, -1) : parts
}
