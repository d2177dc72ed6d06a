import { setImmediate } from 'node:timers/promises'

/**
 * Work that can pause: it yields an empty string wherever it may be interrupted, which is every
 * few thousand characters, and returns its result.
 */
export type Steps<Result> = Generator<'', Result>

/** Does all the work at once. */
export function finish<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** How long the event loop waits at most, but for what one step takes longer. */
const sliceMs = 5

let lastTurn: Promise<void> = Promise.resolve()

/**
 * Does the work in slices of 5 ms, and lets the event loop turn between them. All callers share the
 * turns: in each, one of them works for one slice.
 *
 * @throws the reason of `signal`, at the next turn after it is aborted.
 */
export async function finishInSlices<Result>(
  steps: Steps<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const pause = pauses(signal)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    const turn = pause()
    if (turn) await turn
  }
}

/**
 * The same for work in a loop that is asynchronous itself: to be awaited wherever it may be
 * interrupted.
 */
export function pauses(signal?: AbortSignal): () => void | Promise<void> {
  let start = performance.now()
  const turn = async () => {
    lastTurn = lastTurn.then(() => setImmediate())
    await lastTurn
    signal?.throwIfAborted()
    start = performance.now()
  }
  return () => (performance.now() - start < sliceMs ? undefined : turn())
}

/**
 * Converts a text in parts, and returns what it became.
 *
 * @param isBorder whether the text may be cut in front of the index given: the parts of a text,
 *   converted and joined, must be the converted text.
 */
export function* convertInParts(
  text: string,
  isBorder: (text: string, index: number) => boolean,
  convert: (part: string) => string,
  partLength = 16384,
): Steps<string> {
  if (text.length <= partLength) return convert(text)
  const parts: string[] = []
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + partLength, text.length)
    while (end < text.length && !isBorder(text, end)) end++
    parts.push(convert(text.slice(start, end)))
    start = end
    yield ''
  }
  return parts.join('')
}

/** Whether `index` is not in the middle of a surrogate pair of a well-formed text. */
export function isBetweenCharacters(text: string, index: number): boolean {
  const unit = text.charCodeAt(index)
  return !(unit >= 0xdc00 && unit <= 0xdfff)
}

/**
 * As `replaceAll`, but the result lies in one piece of memory. V8 makes `replaceAll` a tree of pieces,
 * which takes several times as long, and whose first reader has to join all of them at once.
 */
export function replaceEach(text: string, replaced: string, content: string): string {
  return text.split(replaced).join(content)
}
