import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ioError, writeWhole } from '../files.js'
import { encodeSafetensorsHeader } from '../safetensors.js'
import { type DType, embeddingsName } from '../tensor-headers.js'
import { type Adapter, type AdapterTarget, dtypeKey } from './adapter.js'
import { transpose } from './transpose.js'

/**
 * Writes an adapter as PEFT does, in float32: adapter_model.safetensors and, last, adapter_config.json.
 *
 * @param directory is made where there is none.
 * @param base what the base model is called, if it has a name.
 * @param baseDType what the weights were kept as that it has learnt beside.
 * @throws OpenELMError IO_ERROR
 */
export async function writeAdapter(
  directory: string,
  adapter: Pick<Adapter, 'method' | 'targets' | 'adaptsHead'>,
  base: string | null = null,
  baseDType?: DType,
): Promise<void> {
  await mkdir(directory, { recursive: true }).catch(cause => {
    throw ioError('write', directory, cause)
  })
  const tensors = peftTensors(adapter.targets)
  const headers = tensors.map(({ name, shape }) => ({ name, shape, dtype: 'F32' as const }))
  await writeWhole(join(directory, 'adapter_model.safetensors'), [
    encodeSafetensorsHeader(headers, { format: 'pt', ...(baseDType && { [dtypeKey]: baseDType }) }),
    ...tensors.map(({ values: { buffer, byteOffset, byteLength } }) => {
      return new Uint8Array(buffer, byteOffset, byteLength)
    }),
  ])
  const config = JSON.stringify(configOf(adapter, base), null, 2)
  await writeWhole(join(directory, 'adapter_config.json'), [Buffer.from(config)])
}

/** The tensors of an adapter in PEFT's file, in its order. */
export function peftTensors(targets: Adapter['targets']) {
  const tensors = [...targets].flatMap(([name, target]) => tensorsOf(name, target))
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The tensors of a target, under the names of PEFT. */
function tensorsOf(name: string, { rank, a, b, magnitudes }: AdapterTarget) {
  const module = `base_model.model.${moduleOf(name)}`
  const [columns, rows] = [a.length / rank, b.length / rank]
  if (name === embeddingsName) {
    return [
      { name: `${module}.lora_embedding_A`, shape: [rank, rows], values: transpose(b, rank) },
      {
        name: `${module}.lora_embedding_B`,
        shape: [columns, rank],
        values: transpose(a, columns),
      },
    ]
  }
  const magnitude = { name: `${module}.lora_magnitude_vector`, shape: [rows], values: magnitudes! }
  return [
    { name: `${module}.lora_A.weight`, shape: [rank, columns], values: a },
    { name: `${module}.lora_B.weight`, shape: [rows, rank], values: b },
    ...(magnitudes ? [magnitude] : []),
  ]
}

function moduleOf(name: string): string {
  return name.replace(/\.weight$/, '')
}

/**
 * The keys of PEFT 0.9, which newer versions fill up: versions before 0.14 refuse keys that they do not
 * know. The rank and alpha of most targets are those of the adapter; the patterns have the others.
 */
function configOf(
  { method, targets, adaptsHead }: Parameters<typeof writeAdapter>[1],
  base: string | null,
) {
  const all = [...targets].map(([name, { rank, scale }]) => {
    return { module: moduleOf(name), rank, alpha: Number((scale * rank).toPrecision(12)) }
  })
  const [rank, alpha] = [
    mostFrequent(all.map(({ rank }) => rank)),
    mostFrequent(all.map(({ alpha }) => alpha)),
  ]
  const others = (key: 'rank' | 'alpha', usual: number) =>
    Object.fromEntries(all.filter(one => one[key] !== usual).map(one => [one.module, one[key]]))
  return {
    alpha_pattern: others('alpha', alpha),
    auto_mapping: null,
    base_model_name_or_path: base,
    bias: 'none',
    ...(adaptsHead && { ensure_weight_tying: true }),
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: alpha,
    lora_dropout: 0,
    megatron_config: null,
    megatron_core: 'megatron.core',
    modules_to_save: null,
    peft_type: 'LORA',
    r: rank,
    rank_pattern: others('rank', rank),
    revision: null,
    target_modules: [...new Set(all.map(({ module }) => module.split('.').at(-1)!))].sort(),
    task_type: 'CAUSAL_LM',
    use_dora: method === 'dora',
    use_rslora: false,
  }
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0]
}
