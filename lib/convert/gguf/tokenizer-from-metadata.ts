import type { OpenELMConfig } from '../../config.js'
import { OpenELMError } from '../../errors.js'
import { metaspace } from '../../sentence-piece.js'
import { isJsonObject } from '../../strict-json.js'
import { loadTokenizer } from '../../tokenizer.js'
import type { MetadataReader } from './metadata-reader.js'
import { tokenTypes } from './tokenizer-metadata.js'
import { llamaTokenizerJson } from './tokenizer-source.js'

/** Pieces that are longer would take long to cut in two everywhere. */
const longestPiece = 256

interface Token {
  readonly id: number
  readonly piece: string
  readonly type: number
}

/**
 * The tokenizer.json of a GGUF file; undefined for LLaMA's vocabulary, which the package has, and for
 * a file that holds none.
 *
 * @throws OpenELMError INVALID_GGUF, INVALID_TOKENIZER, or NOT_CONVERTIBLE for another algorithm.
 */
export async function tokenizerFromMetadata(
  read: MetadataReader,
  config: OpenELMConfig,
): Promise<object | undefined> {
  const kind = read.string('tokenizer.ggml.model', 'none')
  if (kind === 'none' || kind === 'no_vocab') return undefined
  const pre = read.string('tokenizer.ggml.pre', 'default')
  if (kind !== 'llama' && (kind !== 'gpt2' || pre !== 'gpt-2')) {
    const message = `${read.file}: its tokenizer is of the kind ${kind}, ${pre}`
    throw new OpenELMError('NOT_CONVERTIBLE', message)
  }
  const tokens = readTokens(read, config.vocabSize)
  const prepends = read.boolean('tokenizer.ggml.add_space_prefix', true)
  const isSentencePiece = kind === 'llama'
  const algorithm = isSentencePiece ? sentencePiece(read, tokens, prepends) : gpt2(read)
  const json = tokenizerJson(tokens, algorithm)
  await loadTokenizer(json, config)
  return isSentencePiece && prepends && (await isLlama(tokens)) ? undefined : json
}

function readTokens(read: MetadataReader, vocabSize: number): Token[] {
  const isPiece = (item: unknown): item is string =>
    typeof item === 'string' && item.length <= longestPiece
  const pieces = read.list('tokenizer.ggml.tokens', 'pieces', isPiece)
  const types = read.list('tokenizer.ggml.token_type', 'integers', isNumber)
  if (pieces.length !== vocabSize || types.length !== vocabSize) {
    throw read.invalid(`expected ${vocabSize} tokens, received ${pieces.length}`)
  }
  // The library drops a byte order mark, which is a token of LLaMA's; no other is empty.
  return pieces.map((piece, id) => ({ id, piece: piece || '\ufeff', type: types[id]! }))
}

function isNumber(item: unknown): item is number {
  return typeof item === 'number'
}

function tokenizerJson(tokens: readonly Token[], algorithm: { model: object }) {
  const used = tokens.filter(({ type }) => type !== tokenTypes.unused)
  const special = [tokenTypes.unknown, tokenTypes.control]
  const added = used.filter(({ type }) => [...special, tokenTypes.userDefined].includes(type))
  return {
    version: '1.0',
    added_tokens: added.map(({ id, piece, type }) => {
      return { id, content: piece, special: special.includes(type), normalized: false }
    }),
    ...algorithm,
    model: {
      type: 'BPE',
      unk_token: used.find(({ type }) => type === tokenTypes.unknown)?.piece ?? null,
      vocab: Object.fromEntries(used.map(({ id, piece }) => [piece, id])),
      ...algorithm.model,
    },
  }
}

function gpt2(read: MetadataReader) {
  const isMerge = (item: unknown): item is string => typeof item === 'string'
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  }
  return {
    normalizer: null,
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { byte_fallback: false, merges: read.list('tokenizer.ggml.merges', 'texts', isMerge) },
  }
}

function sentencePiece(read: MetadataReader, tokens: readonly Token[], prepends: boolean) {
  const scores = read.list('tokenizer.ggml.scores', 'numbers', isNumber)
  if (scores.length !== tokens.length) {
    throw read.invalid(`expected ${tokens.length} scores, received ${scores.length}`)
  }
  const prepend = { type: 'Prepend', prepend: metaspace }
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: metaspace }
  return {
    normalizer: { type: 'Sequence', normalizers: [...(prepends ? [prepend] : []), replace] },
    pre_tokenizer: null,
    decoder: { type: 'Metaspace' },
    model: {
      byte_fallback: tokens.some(({ type }) => type === tokenTypes.byte),
      merges: mergesOf(tokens, scores),
    },
  }
}

/** SentencePiece joins any two pieces that make a third, those of the highest score first. */
function mergesOf(tokens: readonly Token[], scores: readonly number[]): [string, string][] {
  const normal = tokens.filter(({ type }) => type === tokenTypes.normal)
  const ids = new Map(normal.map(({ piece, id }) => [piece, id]))
  const inOrder = normal.toSorted((a, b) => scores[b.id]! - scores[a.id]! || a.id - b.id)
  return inOrder.flatMap(({ piece }) => {
    const characters = Array.from(piece)
    const cuts = characters.slice(1).map((_, i): [string, string] => {
      return [characters.slice(0, i + 1).join(''), characters.slice(i + 1).join('')]
    })
    const known = cuts.filter(([left, right]) => ids.has(left) && ids.has(right))
    return known.sort((a, b) => ids.get(a[0])! - ids.get(b[0])! || ids.get(a[1])! - ids.get(b[1])!)
  })
}

async function isLlama(tokens: readonly Token[]): Promise<boolean> {
  const { model } = await llamaTokenizerJson()
  const vocab = isJsonObject(model) ? model.vocab : undefined
  if (!isJsonObject(vocab)) return false
  return (
    tokens.length === Object.keys(vocab).length &&
    tokens.every(({ piece, id }) => vocab[piece] === id)
  )
}
