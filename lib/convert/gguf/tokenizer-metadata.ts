import type { OpenELMConfig } from '../../config.js'
import { OpenELMError } from '../../errors.js'
import { metaspace } from '../../sentence-piece.js'
import { isJsonObject, type JsonObject } from '../../strict-json.js'
import { loadTokenizer } from '../../tokenizer.js'
import type { Metadata, MetadataValue } from './header.js'
import { readTokenizerJson } from './tokenizer-source.js'

/** What llama.cpp calls the kinds of tokens. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 }

/** The parts of a tokenizer.json that are needed here, which loadTokenizer has checked. */
interface TokenizerJson extends JsonObject {
  readonly added_tokens?: { id: number; content: string; special?: boolean }[]
  readonly model: {
    vocab: Record<string, number>
    merges: (string | [string, string])[]
  } & JsonObject
}

/**
 * The tokenizer of a model as llama.cpp reads it: a vocabulary with byte fallback, such as LLaMA's, as
 * SentencePiece's, whose scores are the order of the merges; a byte-level one as GPT-2's. Of the
 * latter llama.cpp normalises no text, so that one in another form than NFC gives other tokens there.
 * And it puts a space also in front of a text that begins with one, which Metaspace does not.
 *
 * @param directory where a tokenizer.json may be.
 * @throws OpenELMError INVALID_TOKENIZER, IO_ERROR; NOT_CONVERTIBLE for one that llama.cpp lacks.
 */
export async function tokenizerMetadata(
  directory: string,
  config: OpenELMConfig,
): Promise<Metadata> {
  await loadTokenizer(directory, config)
  const { name, json } = await readTokenizerJson(directory)
  const tokenizer = json as TokenizerJson
  const kind = kindOf(tokenizer, name)
  const { pieces, types } = listTokens(tokenizer, config)
  const merges = tokenizer.model.merges.map(merge =>
    typeof merge === 'string' ? merge : merge.join(' '),
  )
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
  const bool = (value: boolean): MetadataValue => ({ type: 'bool', value })
  const metadata = new Map<string, MetadataValue>([
    ['tokenizer.ggml.model', { type: 'string', value: kind }],
    ['tokenizer.ggml.pre', { type: 'string', value: kind === 'llama' ? 'default' : 'gpt-2' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: pieces }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
    ['tokenizer.ggml.bos_token_id', u32(config.bosTokenId)],
    ['tokenizer.ggml.eos_token_id', u32(config.eosTokenId)],
    ['tokenizer.ggml.add_bos_token', bool(true)],
    ['tokenizer.ggml.add_eos_token', bool(false)],
  ])
  const unknown = types.indexOf(tokenTypes.unknown)
  if (unknown >= 0) metadata.set('tokenizer.ggml.unknown_token_id', u32(unknown))
  if (kind === 'llama') {
    const scores = scorePieces(pieces, merges)
    metadata.set('tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scores })
    metadata.set('tokenizer.ggml.add_space_prefix', bool(prependsSpace(tokenizer)))
  } else {
    metadata.set('tokenizer.ggml.merges', { type: 'array', of: 'string', value: merges })
  }
  return metadata
}

/** llama.cpp's name for the algorithm. */
function kindOf(json: TokenizerJson, name: string): 'llama' | 'gpt2' {
  const steps = [...stepsOf(json.normalizer), ...stepsOf(json.pre_tokenizer)]
  const strange = (known: (step: JsonObject) => boolean) => {
    const step = steps.find(step => !known(step))
    if (step === undefined) return
    const what = JSON.stringify(step).slice(0, 80)
    throw new OpenELMError('NOT_CONVERTIBLE', `${name}: llama.cpp has no ${what}`)
  }
  if (json.model.byte_fallback === true) {
    const pieces = Object.keys(json.model.vocab)
    const reachesOver = pieces.some(piece => piece.includes(metaspace, 1))
    strange(
      step => isSpaceReplacement(step) || isSpacePrefix(step) || isMetaspace(step, reachesOver),
    )
    return 'llama'
  }
  strange(
    ({ type, add_prefix_space, use_regex }) =>
      type === 'NFC' || (type === 'ByteLevel' && !add_prefix_space && use_regex !== false),
  )
  if (stepsOf(json.pre_tokenizer).some(({ type }) => type === 'ByteLevel')) return 'gpt2'
  throw new OpenELMError('NOT_CONVERTIBLE', `${name}: it reads neither bytes nor byte tokens`)
}

function stepsOf(given: unknown): JsonObject[] {
  if (!isJsonObject(given)) return []
  const steps = given.type === 'Sequence' ? (given.normalizers ?? given.pretokenizers) : [given]
  return Array.isArray(steps) ? steps.filter(isJsonObject) : []
}

function isSpaceReplacement({ type, pattern, content }: JsonObject): boolean {
  return (
    type === 'Replace' && isJsonObject(pattern) && pattern.String === ' ' && content === metaspace
  )
}

function isSpacePrefix({ type, prepend }: JsonObject): boolean {
  return type === 'Prepend' && prepend === metaspace
}

/** llama.cpp never cuts a text at its spaces, which only matters where pieces reach over them. */
function isMetaspace({ type, replacement, split }: JsonObject, reachesOver: boolean): boolean {
  return type === 'Metaspace' && replacement === metaspace && (split === false || !reachesOver)
}

function prependsSpace({ normalizer, pre_tokenizer }: TokenizerJson): boolean {
  const words = stepsOf(pre_tokenizer).filter(({ type }) => type === 'Metaspace')
  return (
    stepsOf(normalizer).some(isSpacePrefix) ||
    words.some(({ prepend_scheme }) => prepend_scheme !== 'never')
  )
}

/** The text and the kind of every id; llama.cpp wants one also where there is none. */
function listTokens({ model, added_tokens = [] }: TokenizerJson, config: OpenELMConfig) {
  const { vocabSize, bosTokenId, eosTokenId } = config
  const pieces = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`)
  const types = new Array<number>(vocabSize).fill(tokenTypes.unused)
  // loadTokenizer leaves out what is behind the last token of the model.
  for (const [piece, id] of Object.entries(model.vocab)) {
    if (id >= vocabSize) continue
    pieces[id] = piece
    const isByte = model.byte_fallback === true && /^<0x[0-9A-F]{2}>$/.test(piece)
    types[id] = isByte ? tokenTypes.byte : tokenTypes.normal
  }
  for (const { id, content, special } of added_tokens) {
    if (id >= vocabSize) continue
    pieces[id] = content
    const isControl = special || id === bosTokenId || id === eosTokenId
    types[id] = isControl ? tokenTypes.control : tokenTypes.userDefined
  }
  const unknown = new Map(Object.entries(model.vocab)).get(String(model.unk_token ?? '<unk>'))
  if (unknown !== undefined) types[unknown] = tokenTypes.unknown
  return { pieces, types }
}

/** The later a piece is merged, the lower its score; those that no merge makes have 0. */
function scorePieces(pieces: readonly string[], merges: readonly string[]): number[] {
  const order = new Map<string, number>()
  for (const merge of merges) {
    const piece = merge.replace(' ', '')
    if (!order.has(piece)) order.set(piece, order.size)
  }
  return pieces.map(piece => 0 - (order.get(piece) ?? 0))
}
