import type { Steps } from '../steps.js'

/** The tokens of a vocabulary that stand for bytes. */
export interface TokenBytes {
  readonly vocabSize: number
  /** The UTF-8 of a token; nothing for those that have no text. */
  bytesOf(token: number): Uint8Array
}

interface TokenEntry {
  readonly token: number
  readonly bytes: Uint8Array
}

const none = -1

/**
 * Tokens by their bytes: a tree whose nodes stand in depth-first order, so that a walk is a loop which
 * passes over what it does not want.
 */
export class TokenTrie {
  /** The byte of each node. */
  readonly bytes: Uint8Array
  /** How many nodes are above it. */
  readonly depths: Uint16Array
  /** The node behind all those below it. */
  readonly ends: Int32Array
  /** The first of the tokens that end at it, or -1. */
  readonly tokens: Int32Array
  /** By token, the next one with the same bytes, or -1. */
  readonly nextTokens: Int32Array
  numNodes = 0
  maxDepth = 0

  private constructor(vocabSize: number, maxNodes: number) {
    this.bytes = new Uint8Array(maxNodes)
    this.depths = new Uint16Array(maxNodes)
    this.ends = new Int32Array(maxNodes)
    this.tokens = new Int32Array(maxNodes).fill(none)
    this.nextTokens = new Int32Array(vocabSize).fill(none)
  }

  static *build(vocabSize: number, entries: readonly TokenEntry[]): Steps<TokenTrie> {
    const numBytes = entries.reduce((sum, { bytes }) => sum + bytes.length, 0)
    const trie = new TokenTrie(vocabSize, numBytes)
    yield* trie.#add(entries, 0)
    return trie
  }

  *#add(entries: readonly TokenEntry[], depth: number): Steps<void> {
    const groups: (TokenEntry[] | undefined)[] = []
    for (const [i, entry] of entries.entries()) {
      if (i % 1024 === 1023) yield ''
      const byte = entry.bytes[depth]!
      const group = groups[byte]
      if (group) group.push(entry)
      else groups[byte] = [entry]
    }
    for (let byte = 0; byte < groups.length; byte++) {
      const group = groups[byte]
      if (!group) continue
      if (this.numNodes % 512 === 0) yield ''
      const node = this.numNodes++
      this.maxDepth = Math.max(this.maxDepth, depth + 1)
      this.bytes[node] = byte
      this.depths[node] = depth
      for (const { token, bytes } of group) {
        if (bytes.length > depth + 1) continue
        this.nextTokens[token] = this.tokens[node]!
        this.tokens[node] = token
      }
      const longer = group.filter(({ bytes }) => bytes.length > depth + 1)
      if (longer.length > 0) yield* this.#add(longer, depth + 1)
      this.ends[node] = this.numNodes
    }
  }
}

/** A vocabulary as constraints look at it. */
export interface TokenTables {
  readonly vocabSize: number
  readonly all: TokenTrie
  /** All tokens but plain ones. */
  readonly others: TokenTrie
  /**
   * The plain tokens, those that anywhere in a JSON string are nothing but whole characters of it, all of
   * the Basic Multilingual Plane: by n, a mask of those of at most n characters.
   */
  readonly plain: readonly Uint32Array[]
}

export function* tokenTables({ vocabSize, bytesOf }: TokenBytes): Steps<TokenTables> {
  const all: TokenEntry[] = []
  const others: TokenEntry[] = []
  const plain: TokenEntry[][] = []
  for (let token = 0; token < vocabSize; token++) {
    if (token % 256 === 0) yield ''
    const bytes = bytesOf(token)
    if (bytes.length === 0) continue
    const entry = { token, bytes }
    all.push(entry)
    const characters = countPlain(bytes)
    if (characters === undefined) {
      others.push(entry)
    } else {
      plain[characters] ??= []
      plain[characters].push(entry)
    }
  }
  return {
    vocabSize,
    all: yield* TokenTrie.build(vocabSize, all),
    others: yield* TokenTrie.build(vocabSize, others),
    plain: masksOf(plain, vocabSize),
  }
}

/** Each mask holds those before it. */
function masksOf(groups: readonly (TokenEntry[] | undefined)[], vocabSize: number): Uint32Array[] {
  const masks = [new Uint32Array(Math.ceil(vocabSize / 32))]
  for (let length = 1; length < groups.length; length++) {
    const mask = masks[length - 1]!.slice()
    for (const { token } of groups[length] ?? []) setBit(mask, token)
    masks.push(mask)
  }
  return masks
}

export function setBit(mask: Uint32Array, token: number): void {
  mask[token >> 5]! |= 1 << (token & 31)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** How many characters a token has; undefined where it is not plain. */
function countPlain(bytes: Uint8Array): number | undefined {
  let count = 0
  for (const byte of bytes) {
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c || byte >= 0xf0) return undefined
    if ((byte & 0xc0) !== 0x80) count++
  }
  try {
    utf8.decode(bytes)
    return count
  } catch {
    return undefined
  }
}
