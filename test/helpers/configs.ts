import type { ConfigJson } from '../reference.js'

/** What every released model has in common, and most of the test models. */
const common: ConfigJson = {
  model_type: 'openelm',
  architectures: ['OpenELMForCausalLM'],
  activation_fn_name: 'swish',
  normalization_layer_name: 'rms_norm',
  bos_token_id: 1,
  eos_token_id: 2,
  vocab_size: 300,
  max_context_length: 256,
  rope_max_length: 512,
  rope_freq_constant: 10000,
  num_transformer_layers: 2,
  model_dim: 64,
  head_dim: 16,
  qkv_multipliers: [0.5, 1],
  num_gqa_groups: 4,
  ffn_multipliers: [0.5, 4],
  ffn_dim_divisor: 16,
  ffn_with_glu: true,
  normalize_qk_projections: true,
  share_input_output_layers: true,
}

/**
 * Small models that between them have every shape an engine could get wrong. The first four have the
 * per-layer head counts of the released sizes and their FFN widths to scale: the widths of model and
 * head and the divisor of the FFN shrink together.
 */
const configs = {
  '270M': {
    ...common,
    num_transformer_layers: 16,
    model_dim: 160,
    head_dim: 8,
    ffn_dim_divisor: 32,
    // The one with the lists spelt out, as Hugging Face stores them.
    ffn_multipliers: [
      0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0,
    ],
    num_query_heads: [12, 12, 12, 12, 12, 16, 16, 16, 16, 16, 16, 16, 20, 20, 20, 20],
    num_kv_heads: [3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5],
  },
  '450M': {
    ...common,
    vocab_size: 301,
    num_transformer_layers: 20,
    model_dim: 192,
    head_dim: 8,
    ffn_dim_divisor: 32,
  },
  '1_1B': {
    ...common,
    num_transformer_layers: 28,
    model_dim: 256,
    head_dim: 8,
    ffn_dim_divisor: 32,
  },
  '3B': {
    ...common,
    num_transformer_layers: 36,
    model_dim: 192,
    head_dim: 8,
    ffn_dim_divisor: 16,
  },
  'one-layer': { ...common, num_transformer_layers: 1, qkv_multipliers: [1, 1] },
  'multi-head': { ...common, num_gqa_groups: 1, qkv_multipliers: 1, ffn_multipliers: 2 },
  'multi-query': { ...common, num_gqa_groups: 8, head_dim: 8, qkv_multipliers: 1 },
  'many-kv-heads': { ...common, num_gqa_groups: 2, head_dim: 8, model_dim: 128 },
  'rounding-ties': {
    ...common,
    num_transformer_layers: 5,
    model_dim: 200,
    head_dim: 8,
    num_gqa_groups: 1,
    ffn_multipliers: [0.5, 1],
    ffn_dim_divisor: 4,
  },
  golden: {
    ...common,
    vocab_size: 97,
    num_transformer_layers: 3,
    model_dim: 128,
    head_dim: 32,
    num_gqa_groups: 2,
    ffn_dim_divisor: 32,
  },
  'head-64-lists': {
    ...common,
    num_transformer_layers: 3,
    model_dim: 256,
    head_dim: 64,
    num_gqa_groups: 2,
    qkv_multipliers: [0.5, 1.5, 1],
    ffn_multipliers: [1.25, 0.5, 2],
  },
  'head-80': { ...common, model_dim: 160, head_dim: 80, num_gqa_groups: 2 },
  'head-128': { ...common, model_dim: 256, head_dim: 128, num_gqa_groups: 2 },
  'odd-widths': {
    ...common,
    vocab_size: 97,
    num_transformer_layers: 3,
    model_dim: 72,
    head_dim: 8,
    num_gqa_groups: 1,
    ffn_multipliers: [0.61, 1.5],
    ffn_dim_divisor: 4,
  },
  'odder-widths': {
    ...common,
    vocab_size: 301,
    model_dim: 44,
    head_dim: 8,
    num_gqa_groups: 2,
    ffn_multipliers: [1, 1.7],
    ffn_dim_divisor: 1,
    share_input_output_layers: false,
  },
  'no-qk-norm': { ...common, normalize_qk_projections: false },
  'plain-ffn': { ...common, ffn_with_glu: false },
  'plain-ffn-untied': {
    ...common,
    vocab_size: 97,
    normalize_qk_projections: false,
    ffn_with_glu: false,
    share_input_output_layers: false,
  },
  'other-constants': { ...common, rms_norm_eps: 1e-2, rope_freq_constant: 500 },
} satisfies Record<string, ConfigJson>

export const testConfigs: Record<keyof typeof configs, ConfigJson> = configs
