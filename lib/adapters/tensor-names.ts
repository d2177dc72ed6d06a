/** Who wrote an adapter, which decides how its tensors are called and which way around they lie. */
export type AdapterFormat = 'peft' | 'corenet' | 'mlx'

/** The two factors, as the format calls them, and the magnitudes of DoRA. */
export type Part = 'a' | 'b' | 'magnitudes'

/** A module of the model, then the tensor of the adapter. */
const forms: Readonly<Record<AdapterFormat, RegExp>> = {
  // Without the prefix where an adapter was put in by other means than PeftModel; PEFT itself adds and
  // removes the .weight of the magnitudes.
  peft: /^(?:base_model\.model\.)?(transformer\..+)\.(?:lora_(?:embedding_)?(A|B)|lora_magnitude_vector)(?:\.weight)?$/,
  corenet:
    /^(token_embeddings|layers\..+)\.(?:lora_(?:embedding_)?(A|B)|lora_magnitude_vector)\.lora(?:\.weight)?$/,
  mlx: /^(transformer\..+)\.(?:lora_(a|b)|m)$/,
}

/** The matrix of the model that a tensor of an adapter belongs to, and as what. */
export function parseTensorName(
  name: string,
  format: AdapterFormat,
): { target: string; part: Part } | undefined {
  const match = forms[format].exec(name)
  if (match === null) return undefined
  const [, module, letter] = match
  const prefix = format === 'corenet' ? 'transformer.' : ''
  const part = (letter?.toLowerCase() ?? 'magnitudes') as Part
  return { target: `${prefix}${module}.weight`, part }
}
