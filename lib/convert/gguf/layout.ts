import { type OpenELMConfig, tensorSpecs } from '../../config.js'
import { OpenELMError } from '../../errors.js'

/**
 * The architectures of llama.cpp that compute what an OpenELM does: `openelm`, which has the norms of
 * queries and keys, and `llama`, which has not but is the same in every layer.
 */
export type Architecture = 'openelm' | 'llama'

/** A tensor of a GGUF file: some rows of a tensor of the checkpoint. */
export interface GgufTensor {
  readonly name: string
  /** The Hugging Face name of where the rows are. */
  readonly source: string
  readonly firstRow: number
  /** [rows, columns], or [length]. GGUF itself writes them the other way around. */
  readonly shape: readonly number[]
  /**
   * Whether the two halves of each head take turns row by row: RoPE turns number j with number j +
   * headDim / 2 in OpenELM, and with its neighbour in llama.cpp's `llama`.
   */
  readonly interleaved: boolean
}

/** @throws OpenELMError NOT_CONVERTIBLE when llama.cpp has no architecture for a model of that shape. */
export function architectureOf(config: OpenELMConfig): Architecture {
  const refuse = (what: string): never => {
    throw new OpenELMError('NOT_CONVERTIBLE', `GGUF has no architecture for a model ${what}`)
  }
  if (!config.ffnWithGlu) refuse('whose FFN has no gate')
  if (config.normalizeQkProjections) {
    if (!config.shareInputOutputLayers) refuse('with norms of queries and an output matrix')
    return 'openelm'
  }
  const { numQueryHeads, numKvHeads, ffnDims } = config
  for (const list of [numQueryHeads, numKvHeads, ffnDims]) {
    if (list.some(value => value !== list[0])) {
      refuse('without norms of queries and keys whose layers differ')
    }
  }
  return 'llama'
}

/** The tensors that llama.cpp expects of a model, in the order of the forward pass. */
export function ggufTensors(config: OpenELMConfig): GgufTensor[] {
  const splitsQkv = architectureOf(config) === 'llama'
  return tensorSpecs(config).flatMap(({ name, shape }) => {
    const [, layer, part] = /^transformer\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? []
    if (layer === undefined || part === undefined) return slices(name, shape, [[modelNames[name]!]])
    const prefix = `blk.${layer}.`
    const rows = shape[0]!
    if (part === 'ffn.proj_1') {
      const [gate, up] = [`${prefix}ffn_gate`, `${prefix}ffn_up`]
      return slices(name, shape, [
        [gate, rows / 2],
        [up, rows / 2],
      ])
    }
    if (part === 'attn.qkv_proj' && splitsQkv) {
      const kvDim = config.numKvHeads[Number(layer)]! * config.headDim
      return slices(name, shape, [
        [`${prefix}attn_q`, rows - 2 * kvDim, true],
        [`${prefix}attn_k`, kvDim, true],
        [`${prefix}attn_v`, kvDim],
      ])
    }
    return slices(name, shape, [[prefix + layerNames[part]!]])
  })
}

/** Tensors of so many rows each, or of all, one after the other. */
function slices(
  source: string,
  shape: readonly number[],
  parts: [name: string, rows?: number, interleaved?: boolean][],
): GgufTensor[] {
  let firstRow = 0
  return parts.map(([name, rows = shape[0]!, interleaved = false]) => {
    const slice = { name: `${name}.weight`, source, firstRow, interleaved }
    firstRow += rows
    return { ...slice, shape: [rows, ...shape.slice(1)] }
  })
}

const modelNames: Record<string, string> = {
  'transformer.token_embeddings.weight': 'token_embd',
  'transformer.norm.weight': 'output_norm',
  'lm_head.weight': 'output',
}

const layerNames: Record<string, string> = {
  attn_norm: 'attn_norm',
  'attn.qkv_proj': 'attn_qkv',
  'attn.q_norm': 'attn_q_norm',
  'attn.k_norm': 'attn_k_norm',
  'attn.out_proj': 'attn_output',
  ffn_norm: 'ffn_norm',
  'ffn.proj_2': 'ffn_down',
}

/** Rows of whole heads, from the order of OpenELM to that of GGUF or back. */
export function reorderHalves(
  bytes: Uint8Array,
  rowBytes: number,
  headDim: number,
  to: 'interleaved' | 'separate',
): Uint8Array {
  const result = new Uint8Array(bytes.length)
  const half = headDim / 2
  for (let row = 0; row * rowBytes < bytes.length; row++) {
    const place = row % headDim
    const twin = row - place + 2 * (place % half) + Math.floor(place / half)
    const [source, target] = to === 'interleaved' ? [row, twin] : [twin, row]
    const moved = bytes.subarray(source * rowBytes, (source + 1) * rowBytes)
    result.set(moved, target * rowBytes)
  }
  return result
}

/** A vector is a matrix of one row. */
export function matrixShape(shape: readonly number[]): [rows: number, columns: number] {
  return shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!]
}

/** Runs of rows that take a few megabytes, of whole heads, so that their rows can change places. */
export function* wholeHeads(rows: number, columns: number, headDim: number) {
  const most = Math.max(1, Math.floor(2 ** 20 / (columns * headDim))) * headDim
  for (let row = 0; row < rows; row += most) yield { row, count: Math.min(most, rows - row) }
}
