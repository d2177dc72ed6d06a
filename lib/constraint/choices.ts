import type { NativeConstraint, Node } from '../native-constraint.js'
import type { Steps } from '../steps.js'

export interface Choice {
  readonly bytes: Uint8Array
  readonly tail: Node
}

/** One of these texts, each followed by what its tail says. */
export function* choices(
  regular: NativeConstraint,
  entries: readonly Choice[],
  from = 0,
): Steps<Node> {
  const [entry] = entries
  if (!entry) return regular.empty
  if (entries.length === 1) return regular.text(entry.bytes.subarray(from), entry.tail)
  let at = from
  for (;;) {
    const ended: Node[] = []
    const groups = new Map<number, Choice[]>()
    for (const [i, entry] of entries.entries()) {
      if (i % 1024 === 1023) yield ''
      const byte = entry.bytes[at]
      const group = byte === undefined ? undefined : groups.get(byte)
      if (byte === undefined) ended.push(entry.tail)
      else if (group) group.push(entry)
      else groups.set(byte, [entry])
    }
    if (ended.length === 0 && groups.size === 1) {
      at++
      continue
    }
    const branches: Node[] = ended
    for (const [byte, group] of groups) {
      branches.push(regular.seq(regular.set([byte, byte]), yield* choices(regular, group, at + 1)))
      yield ''
    }
    return regular.text(entry.bytes.subarray(from, at), regular.alt(...branches))
  }
}
