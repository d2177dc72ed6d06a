import type { NativeConstraint, Node, Range } from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { tooComplex } from './too-complex.js'

const maxPairs = 20_000

interface Pair {
  readonly a: Node
  readonly b: Node
  readonly accepts: boolean
  /** The ranges of bytes that lead on, by the pair that they lead to. */
  readonly next: Map<number, Range[]>
}

/**
 * The strings that `accepts` says true of, by whether `a` and `b` hold them; it must say false of those
 * that `a` does not hold. Every state of it can still be brought to an end.
 */
export function* combine(
  regular: NativeConstraint,
  a: Node,
  b: Node,
  accepts: (inA: boolean, inB: boolean) => boolean,
): Steps<Node> {
  const pairs: Pair[] = []
  const indices = new Map<string, number>()
  const indexOf = (a: Node, b: Node) => {
    const key = `${a},${b}`
    const known = indices.get(key)
    if (known !== undefined) return known
    if (pairs.length === maxPairs) throw tooComplex('conditions that are too long together')
    indices.set(key, pairs.length)
    const is = accepts(regular.accepts(a), regular.accepts(b))
    return pairs.push({ a, b, accepts: is, next: new Map() }) - 1
  }
  indexOf(a, b)
  for (let i = 0; i < pairs.length; i++) {
    const { a, b, next } = pairs[i]!
    if (i % 4 === 0) yield ''
    const nextsOfB = regular.nexts(b)
    for (const [byte, nextA] of regular.nexts(a).entries()) {
      if (nextA === regular.empty) continue
      const to = indexOf(nextA, nextsOfB[byte]!)
      const ranges = next.get(to)
      if (ranges) ranges.push([byte, byte])
      else next.set(to, [[byte, byte]])
    }
  }
  return yield* nodeOf(regular, pairs)
}

function* nodeOf(regular: NativeConstraint, pairs: readonly Pair[]): Steps<Node> {
  const before: number[][] = pairs.map(() => [])
  for (const [i, { next }] of pairs.entries()) for (const to of next.keys()) before[to]!.push(i)
  yield ''
  const nodes = new Map<number, Node>()
  const live = pairs.flatMap(({ accepts }, i) => (accepts ? [i] : []))
  for (const i of live) nodes.set(i, regular.reference(pairs[i]!.accepts))
  for (const i of live) {
    for (const from of before[i]!) {
      if (nodes.has(from)) continue
      nodes.set(from, regular.reference(pairs[from]!.accepts))
      live.push(from)
    }
  }
  for (const [count, i] of live.entries()) {
    if (count % 64 === 63) yield ''
    const { accepts, next } = pairs[i]!
    const branches = accepts ? [regular.epsilon] : []
    for (const [to, ranges] of next) {
      const node = nodes.get(to)
      if (node !== undefined) branches.push(regular.seq(regular.set(...ranges), node))
    }
    regular.define(nodes.get(i)!, regular.alt(...branches))
  }
  return nodes.get(0) ?? regular.empty
}
