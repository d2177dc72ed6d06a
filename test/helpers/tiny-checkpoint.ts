/** A model of two layers with widths that 32 does not divide, except for one, and directories of it. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type DType, type TensorHeader, tensorHeaders } from '../../lib/checkpoint.js'
import { parseConfig } from '../../lib/config.js'
import { elementBytes } from '../../lib/safetensors.js'
import { type RawTensor, writeSafetensors } from './safetensors.js'

const tinyJson = {
  vocab_size: 9,
  max_context_length: 16,
  num_transformer_layers: 2,
  model_dim: 40,
  head_dim: 4,
  num_gqa_groups: 2,
  qkv_multipliers: [0.5, 1.0],
  ffn_multipliers: [0.5, 1.6],
  ffn_dim_divisor: 8,
  normalize_qk_projections: true,
  share_input_output_layers: true,
}

export const tiny = parseConfig(tinyJson, 'tiny')
export const untied = parseConfig({ ...tinyJson, share_input_output_layers: false }, 'untied')
export const embeddings = 'transformer.token_embeddings.weight'
export const outProj = 'transformer.layers.1.attn.out_proj.weight'
/** The only matrix with rows that groups fill. */
export const proj2 = 'transformer.layers.1.ffn.proj_2.weight'

const elements = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1)
export const sizeOf = ({ dtype, shape }: TensorHeader) => elements(shape) * elementBytes[dtype]
export const totalOf = (headers: readonly TensorHeader[]) =>
  headers.reduce((sum, header) => sum + sizeOf(header), 0)

/** Bytes that tell the tensor from any other. */
export function contentOf(header: TensorHeader): Buffer {
  return Buffer.alloc(sizeOf(header), `${header.name} ${header.dtype} `)
}

export type Tensors = Map<string, RawTensor>

export function rawTensor(dtype: string, shape: readonly number[]): RawTensor {
  const width = elementBytes[dtype as keyof typeof elementBytes]
  return { dtype, shape: [...shape], bytes: Buffer.alloc(elements(shape) * width) }
}

export function rawTensors(dtype: DType, config = tiny): Tensors {
  return new Map(
    tensorHeaders(config, dtype).map(({ name, dtype, shape }) => [name, rawTensor(dtype, shape)]),
  )
}

/** Writes a model directory from files whose content is tensors, JSON or text. */
export function modelDir(t: Test, files: Record<string, Tensors | object | string>): string {
  const dir = t.testdir()
  for (const [name, content] of Object.entries({ 'config.json': tinyJson, ...files })) {
    const file = join(dir, name)
    if (content instanceof Map) writeSafetensors(file, content)
    else writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  }
  return dir
}

/** What to expect of a checkpoint that is refused. */
export const invalidCheckpoint = (message: RegExp) => ({ code: 'INVALID_CHECKPOINT', message })
