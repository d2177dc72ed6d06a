/**
 * A set of byte strings, and thereby a state of the machine that reads one: what may still come. A number
 * of one {@link NativeConstraint}; equal numbers are equal sets.
 */
export type Node = number

/** Inclusive. */
export type Range = readonly [first: number, last: number]

/** The tokens of a vocabulary by their bytes. */
export type NativeTokenTables = object

/**
 * Makes the nodes of regular expressions over bytes, with references, by which a language may contain
 * itself. Each node exists once.
 *
 * Memory is bounded: whoever makes too many nodes gets an INVALID_ARGUMENT.
 */
export interface NativeConstraint {
  /** No string at all. */
  readonly empty: Node
  /** The empty string alone. */
  readonly epsilon: Node
  /** Whether so much is known of it that it is better made anew. */
  readonly isLarge: boolean
  /** Strings of one byte. */
  set(...ranges: readonly Range[]): Node
  /** The bytes of a text, and then what `tail` says, by default nothing. */
  text(bytes: string | Uint8Array, tail?: Node): Node
  /** One after the other. */
  seq(...parts: readonly Node[]): Node
  /** Any of them. */
  alt(...parts: readonly Node[]): Node
  optional(node: Node): Node
  /** From `min` to `max` strings of a set, by default any number, one after the other. */
  repeat(body: Node, min: number, max?: number): Node
  /**
   * A set that is defined later, and may then contain itself, but not begin with itself.
   *
   * @param accepts whether the empty string will be in it.
   */
  reference(accepts?: boolean): Node
  define(reference: Node, node: Node): void
  /** The references that stand for no string at all, because each string of them would hold another. */
  barren(): Int32Array
  /** Whether the empty string is in the set, that is, whether nothing has to come any more. */
  accepts(node: Node): boolean
  /** What may follow each byte, [256]. */
  nexts(node: Node): Int32Array
  /** What may follow some bytes. */
  read(node: Node, bytes: Uint8Array): Node
  /**
   * Says which nodes are characters of a plain text: wherever any number of one may come, tokens that are
   * nothing but such text need not be looked at. Before any text is followed.
   */
  setCharacters(...nodes: readonly Node[]): void
}

/** A text that comes token by token and is to fit a constraint: a mask for what draws the tokens. */
export type NativeConstrainedText = object

export interface NativeConstraints {
  /**
   * @param bytes the UTF-8 of all tokens, one after the other.
   * @param ends by token, where it ends; where the one before does if it has no text.
   */
  TokenTables: new (
    bytes: Uint8Array,
    ends: Int32Array,
  ) => NativeTokenTables
  Constraint: new (tables: NativeTokenTables) => NativeConstraint
  /** @param ends the tokens that end the text, which may come where it is whole. */
  ConstrainedText: new (
    constraint: NativeConstraint,
    start: Node,
    ends: Int32Array,
  ) => NativeConstrainedText
}
