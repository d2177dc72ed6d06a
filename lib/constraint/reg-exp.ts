import type { NativeConstraint, Node } from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { type Alphabet, basicPlane } from './characters.js'
import { combine } from './combine.js'
import { type Pattern, PatternError } from './reg-exp-syntax.js'

/**
 * What a pattern matches, by where the match has to stand: anywhere, at the start of the text, at its
 * end, or both.
 */
type Languages = readonly [anywhere: Node, atStart: Node, atEnd: Node, whole: Node]

const atStart = 1
const atEnd = 2

/** The texts that a pattern matches from their start to their end. */
export function* matchWhole(
  regular: NativeConstraint,
  pattern: Pattern,
  alphabet: Alphabet,
): Steps<Node> {
  const { rest, conditions } = takeConditions(pattern)
  const node = regular.alt(...languagesOf(regular, rest, alphabet))
  return yield* applied(regular, node, conditions, alphabet)
}

/** The texts in which a pattern matches somewhere. */
export function* search(
  regular: NativeConstraint,
  pattern: Pattern,
  alphabet: Alphabet,
): Steps<Node> {
  const { rest, conditions } = takeConditions(pattern)
  const node = found(regular, languagesOf(regular, rest, alphabet), alphabet)
  return yield* applied(regular, node, conditions, alphabet)
}

/** How many characters the texts have in which a pattern matches somewhere. */
export function lengthsOf(pattern: Pattern): readonly [min: number, max: number] {
  const { rest } = takeConditions(pattern)
  const parts = rest.kind === 'sequence' ? rest.parts : [rest]
  const [min, max] = lengths(rest)
  const isAnchored = parts[0]?.kind === 'start' && parts.at(-1)?.kind === 'end'
  return [min, isAnchored ? max : Number.POSITIVE_INFINITY]
}

function lengths(pattern: Pattern): readonly [number, number] {
  if (pattern.kind === 'characters') return [1, 1]
  if (pattern.kind === 'repeat') {
    const [min, max] = lengths(pattern.body)
    return [min * pattern.min, max === 0 ? 0 : max * pattern.max]
  }
  if (pattern.kind !== 'sequence' && pattern.kind !== 'choice') return [0, 0]
  const all = pattern.parts.map(lengths)
  if (pattern.kind === 'choice') {
    return [Math.min(...all.map(([min]) => min)), Math.max(...all.map(([, max]) => max))]
  }
  return all.reduce(([min, max], next) => [min + next[0], max + next[1]], [0, 0] as const)
}

function anything(regular: NativeConstraint, alphabet: Alphabet): Node {
  return regular.repeat(alphabet(basicPlane), 0)
}

function found(regular: NativeConstraint, languages: Languages, alphabet: Alphabet): Node {
  const any = anything(regular, alphabet)
  const wrapped = languages.map((node, where) =>
    regular.seq(
      where & atStart ? regular.epsilon : any,
      node,
      where & atEnd ? regular.epsilon : any,
    ),
  )
  return regular.alt(...wrapped)
}

type Condition = Extract<Pattern, { kind: 'ahead' }>

/** Takes away what a pattern says of the whole text by looking ahead from its start. */
function takeConditions(pattern: Pattern): { rest: Pattern; conditions: Condition[] } {
  if (pattern.kind !== 'sequence' || pattern.parts[0]?.kind !== 'start') {
    return { rest: pattern, conditions: [] }
  }
  const [start, ...parts] = pattern.parts
  const conditions: Condition[] = []
  while (parts[0]?.kind === 'ahead') conditions.push(parts.shift() as Condition)
  return { rest: { kind: 'sequence', parts: [start, ...parts] }, conditions }
}

function* applied(
  regular: NativeConstraint,
  node: Node,
  conditions: readonly Condition[],
  alphabet: Alphabet,
): Steps<Node> {
  let result = node
  for (const { body, isNegative } of conditions) {
    const [anywhere, first, last, whole] = languagesOf(regular, body, alphabet)
    const beginning = [regular.empty, regular.alt(anywhere, first), regular.empty] as const
    const ahead = found(regular, [...beginning, regular.alt(last, whole)], alphabet)
    result = yield* combine(regular, result, ahead, (is, matches) => is && matches !== isNegative)
  }
  return result
}

function languagesOf(regular: NativeConstraint, pattern: Pattern, alphabet: Alphabet): Languages {
  const { empty, epsilon } = regular
  switch (pattern.kind) {
    case 'characters':
      return [alphabet(pattern.characters), empty, empty, empty]
    case 'start':
      return [empty, epsilon, empty, empty]
    case 'end':
      return [empty, empty, epsilon, empty]
    case 'ahead':
      throw new PatternError('with look-ahead but at its start')
    case 'repeat': {
      const [body, ...anchored] = languagesOf(regular, pattern.body, alphabet)
      if (anchored.some(node => node !== empty)) throw new PatternError('with a repeated anchor')
      return [regular.repeat(body, pattern.min, pattern.max), empty, empty, empty]
    }
    case 'choice': {
      const all = pattern.parts.map(part => languagesOf(regular, part, alphabet))
      const of = (where: 0 | 1 | 2 | 3) => regular.alt(...all.map(languages => languages[where]))
      return [of(0), of(1), of(2), of(3)]
    }
    case 'sequence': {
      const all = pattern.parts.map(part => languagesOf(regular, part, alphabet))
      const start: Languages = [epsilon, empty, empty, empty]
      return all.reduceRight((rest, first) => joined(regular, first, rest), start)
    }
  }
}

/** One pattern behind another. An anchor between the two never matches, but where nothing is between. */
function joined(regular: NativeConstraint, first: Languages, rest: Languages): Languages {
  const { empty, epsilon } = regular
  const result: [Node, Node, Node, Node] = [empty, empty, empty, empty]
  for (const [i, left] of first.entries()) {
    for (const [j, right] of rest.entries()) {
      if (left === empty || right === empty) continue
      const isInside = (j & atStart && left !== epsilon) || (i & atEnd && right !== epsilon)
      if (isInside) throw new PatternError('with an anchor inside')
      const where = (i | j) as 0 | 1 | 2 | 3
      result[where] = regular.alt(result[where], regular.seq(left, right))
    }
  }
  return result
}
