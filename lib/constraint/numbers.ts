import type { NativeConstraint, Node } from '../native-constraint.js'

/** Where a range of numbers ends; `isExclusive` where the bound itself is outside. */
export interface Bound {
  readonly value: number
  readonly isExclusive: boolean
}

/** Digits of an integer without bounds, in front of the point: a small model would not stop by itself. */
const maxDigits = 16
const largest = 10 ** maxDigits - 1
/** Decimals of so many digits are all different as float64. */
const exactDigits = 15

/** The integers of a range as JSON; without a bound, those of at most 16 digits. */
export function integers(regular: NativeConstraint, min?: Bound, max?: Bound): Node {
  const least = Math.max(-largest, min ? Math.ceil(min.value) : -largest)
  const most = Math.min(largest, max ? Math.floor(max.value) : largest)
  const first = BigInt(least) + (min?.isExclusive && least === min.value ? gap(least) : 0n)
  const last = BigInt(most) - (max?.isExclusive && most === max.value ? gap(most) : 0n)
  const negative = naturals(regular, last < -1n ? -last : 1n, -first)
  return regular.alt(naturals(regular, first > 0n ? first : 0n, last), regular.text('-', negative))
}

/** How far the next integer is that is another float64; none here is above 2^54. */
function gap(integer: number): bigint {
  return Math.abs(integer) < 2 ** 53 ? 1n : 2n
}

/**
 * Numbers as JSON: those of a range without exponent.
 *
 * @param min {@link isWritable}, as `max` is.
 */
export function numbers(regular: NativeConstraint, min?: Bound, max?: Bound): Node {
  if (!min && !max) return unbounded(regular)
  const zero: Bound = { value: 0, isExclusive: false }
  const positive =
    max && max.value < 0
      ? regular.empty
      : magnitudes(regular, min && min.value >= 0 ? min : zero, max)
  if (min && min.value >= 0) return positive
  const least = max && max.value <= 0 ? negated(max) : { value: 0, isExclusive: true }
  const negative = magnitudes(regular, least, min && negated(min))
  return regular.alt(positive, regular.text('-', negative))
}

/**
 * Whether a bound can be held against decimals digit by digit: String must write it without exponent,
 * and no other decimal may be the same float64 where the bound itself is outside.
 */
export function isWritable({ value, isExclusive }: Bound): boolean {
  const text = String(Math.abs(value))
  return !text.includes('e') && (!isExclusive || text.length <= exactDigits)
}

function negated({ value, isExclusive }: Bound): Bound {
  return { value: -value, isExclusive }
}

/** At most 16 digits on either side of the point, and 2 in the exponent, so that none is infinite. */
function unbounded(regular: NativeConstraint): Node {
  const digit = regular.set([0x30, 0x39])
  const integer = naturals(regular, 0n, BigInt(largest))
  const fraction = regular.text('.', regular.repeat(digit, 1, maxDigits))
  const exponent = regular.seq(
    regular.alt(regular.text('e'), regular.text('E')),
    regular.optional(regular.alt(regular.text('+'), regular.text('-'))),
    regular.repeat(digit, 1, 2),
  )
  return regular.seq(
    regular.optional(regular.text('-')),
    integer,
    regular.optional(fraction),
    regular.optional(exponent),
  )
}

/** Integers from 0 up without leading zeros. */
function naturals(regular: NativeConstraint, min: bigint, max: bigint): Node {
  const parts: Node[] = []
  for (let from = min; from <= max; ) {
    const end = 10n ** BigInt(String(from).length) - 1n
    const to = end < max ? end : max
    parts.push(sameLength(regular, String(from), String(to)))
    from = to + 1n
  }
  return regular.alt(...parts)
}

/** Digits from `from` to `to`, which are as long. */
function sameLength(regular: NativeConstraint, from: string, to: string): Node {
  const { length } = from
  if (/^0*$/.test(from) && /^9*$/.test(to)) {
    return regular.repeat(regular.set([0x30, 0x39]), length, length)
  }
  const [first, last] = [Number(from[0]), Number(to[0])]
  const [restFrom, restTo] = [from.slice(1), to.slice(1)]
  if (first === last) return digits(regular, first, last, sameLength(regular, restFrom, restTo))
  const nines = '9'.repeat(restTo.length)
  const zeros = '0'.repeat(restTo.length)
  const any = regular.repeat(regular.set([0x30, 0x39]), restTo.length, restTo.length)
  return regular.alt(
    digits(regular, first, first, sameLength(regular, restFrom, nines)),
    digits(regular, first + 1, last - 1, any),
    digits(regular, last, last, sameLength(regular, zeros, restTo)),
  )
}

function digits(regular: NativeConstraint, first: number, last: number, rest: Node): Node {
  return regular.seq(regular.set([0x30 + first, 0x30 + last]), rest)
}

interface Decimal {
  readonly integer: bigint
  /** Without zeros at its end. */
  readonly fraction: string
  readonly isExclusive: boolean
}

function decimalOf({ value, isExclusive }: Bound): Decimal {
  const [integer = '0', fraction = ''] = String(value).split('.')
  return { integer: BigInt(integer), fraction, isExclusive }
}

/** Decimals from `min`, which is not negative, to `max`. */
function magnitudes(regular: NativeConstraint, min: Bound, max: Bound | undefined): Node {
  const low = decimalOf(min)
  const high = max && decimalOf(max)
  const end = high?.integer ?? BigInt(largest) + 1n
  if (low.integer > end) return regular.empty
  const at = (integer: bigint, from: Decimal | undefined, to: Decimal | undefined) =>
    regular.text(String(integer), fractions(regular, String(integer).length, from, to))
  if (low.integer === end) return at(end, low, high)
  // With more digits what is below an exclusive bound would be rounded to it.
  const room = high ? Math.max(1, exactDigits - String(end).length) : maxDigits
  const any = regular.repeat(regular.set([0x30, 0x39]), 1, room)
  return regular.alt(
    at(low.integer, low, undefined),
    regular.seq(
      naturals(regular, low.integer + 1n, end - 1n),
      regular.optional(regular.text('.', any)),
    ),
    high ? at(end, undefined, high) : regular.empty,
  )
}

/** A point and digits, or nothing, that make a number of its integer part within these bounds. */
function fractions(
  regular: NativeConstraint,
  numDigits: number,
  from: Decimal | undefined,
  to: Decimal | undefined,
): Node {
  const room = Math.max(
    0,
    exactDigits - numDigits,
    from?.fraction.length ?? 0,
    to?.fraction.length ?? 0,
  )
  const { hasEnd, more } = fraction(regular, room, from, to)
  return regular.alt(hasEnd ? regular.epsilon : regular.empty, regular.text('.', more))
}

type Limit = Pick<Decimal, 'fraction' | 'isExclusive'> | undefined

/** Digits behind a point between two limits: whether there may be none, and those that are some. */
function fraction(
  regular: NativeConstraint,
  room: number,
  from: Limit,
  to: Limit,
): { hasEnd: boolean; more: Node } {
  const isEnough = !from || (from.fraction === '' && !from.isExclusive)
  const isNotTooMuch = to?.fraction !== '' || !to.isExclusive
  const hasEnd = isEnough && isNotTooMuch
  if (room === 0) return { hasEnd, more: regular.empty }
  if (!from && !to) {
    return { hasEnd, more: regular.repeat(regular.set([0x30, 0x39]), 1, room) }
  }
  const first = from ? Number(from.fraction[0] ?? 0) : 0
  const last = to ? Number(to.fraction[0] ?? 0) : 9
  const parts: Node[] = []
  for (let digit = first; digit <= last; digit++) {
    const restFrom = digit === first ? behind(from) : undefined
    const restTo = digit === last ? behind(to) : undefined
    const rest = fraction(regular, room - 1, restFrom, restTo)
    const tail = regular.alt(rest.hasEnd ? regular.epsilon : regular.empty, rest.more)
    parts.push(digits(regular, digit, digit, tail))
  }
  return { hasEnd, more: regular.alt(...parts) }
}

function behind(limit: Limit): Limit {
  return limit && { ...limit, fraction: limit.fraction.slice(1) }
}
