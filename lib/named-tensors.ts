import { describe, OpenELMError } from './errors.js'
import { embeddingsName, type TensorDType, type TensorHeader } from './tensor-headers.js'

/** A tensor as a file has it; its dtype may be one that no model uses. */
interface StoredTensor {
  readonly name: string
  readonly file: string
  readonly dtype: string
  readonly shape: readonly number[]
}

/**
 * The tensors of a checkpoint under their Hugging Face names. The files may have those or the names of
 * CoreNet, which has no `transformer.` and calls an untied head `classifier`, and something before the
 * names of all.
 */
export class NamedTensors<Tensor extends StoredTensor> {
  readonly #source: string
  readonly #tensors = new Map<string, Tensor>()
  readonly #isCoreNet: boolean

  /**
   * @param source to name in error messages when a tensor is missing.
   * @throws OpenELMError INVALID_CHECKPOINT when there are names of both kinds: then a tensor could be
   *   there twice.
   */
  constructor(tensors: readonly Tensor[], source: string) {
    this.#source = source
    const prefix = sharedPrefix(tensors.map(({ name }) => name))
    let huggingFaceName: string | undefined
    let coreNetName: string | undefined
    for (const tensor of tensors) {
      const stored = tensor.name.startsWith(prefix) ? tensor.name.slice(prefix.length) : tensor.name
      const isCoreNet = /^(token_embeddings|layers|norm|classifier)\./.test(stored)
      if (isCoreNet) coreNetName = stored
      if (/^(transformer|lm_head)\./.test(stored)) huggingFaceName = stored
      const name = isCoreNet ? fromCoreNet(stored) : stored
      this.#tensors.set(name, { ...tensor, name })
    }
    if (huggingFaceName !== undefined && coreNetName !== undefined) {
      const names = `${describe(huggingFaceName)} and ${describe(coreNetName)}`
      throw invalid(source, `it mixes the names of Hugging Face and of CoreNet: ${names}`)
    }
    this.#isCoreNet = coreNetName !== undefined
  }

  /** Whether {@link take} would find it with this shape. */
  has({ name, shape }: Pick<TensorHeader, 'name' | 'shape'>): boolean {
    const tensor = this.#tensors.get(name)
    return tensor !== undefined && this.#fits(tensor, shape)
  }

  /**
   * Takes a tensor out, of one of the given types. The embedding of a CoreNet checkpoint may have more
   * rows than the vocabulary: 32128 for 32000 tokens.
   *
   * @throws OpenELMError INVALID_CHECKPOINT when it is missing, or of another type or shape.
   */
  take<Type extends TensorDType>(
    { name, shape }: TensorHeader,
    types: readonly Type[],
  ): Tensor & { readonly dtype: Type } {
    const tensor = this.#tensors.get(name)
    if (tensor === undefined) throw invalid(this.#source, this.#missing(name))
    const dtype = types.find(type => type === tensor.dtype)
    if (dtype === undefined) {
      const expected = `expected ${name} to be ${types.join(' or ')}`
      throw invalid(tensor.file, `${expected}, received ${tensor.dtype}`)
    }
    if (!this.#fits(tensor, shape)) {
      const expected = `expected ${name} to be [${shape}], as the config implies`
      throw invalid(tensor.file, `${expected}, received [${tensor.shape}]`)
    }
    this.#tensors.delete(name)
    return { ...tensor, dtype }
  }

  /** Names of those that were not taken, without buffers that every version of Apple's code computes. */
  get unexpected(): string[] {
    return [...this.#tensors.keys()].filter(name => !isDerivedBuffer(name))
  }

  #fits(tensor: Tensor, shape: readonly number[]): boolean {
    const mayBeTaller = this.#isCoreNet && tensor.name === embeddingsName
    const fits = (length: number, axis: number) =>
      length === shape[axis] || (mayBeTaller && axis === 0 && length > shape[0]!)
    return tensor.shape.length === shape.length && tensor.shape.every(fits)
  }

  #missing(name: string): string {
    const [example] = this.#tensors.keys()
    const there = example === undefined ? 'no tensor at all' : `${describe(example)}, for example`
    return `there is no tensor ${name}; there is ${there}`
  }
}

/**
 * What stands before the name of every tensor, such as the `_orig_mod.` of torch.compile or the
 * `module.` of DataParallel.
 */
function sharedPrefix(all: readonly string[]): string {
  const names = all.filter(name => !isDerivedBuffer(name))
  const coreNetName = embeddingsName.replace(/^transformer\./, '')
  const prefixes = [embeddingsName, coreNetName].flatMap(embeddings =>
    names
      .filter(name => name.endsWith(`.${embeddings}`))
      .map(name => name.slice(0, -embeddings.length)),
  )
  const isShared = (prefix: string) => names.every(name => name.startsWith(prefix))
  return prefixes.find(prefix => prefix !== 'transformer.' && isShared(prefix)) ?? ''
}

function fromCoreNet(name: string): string {
  return name.startsWith('classifier.')
    ? name.replace('classifier.', 'lm_head.')
    : `transformer.${name}`
}

/** Buffers that some versions of Apple's code save, and every version computes itself. */
function isDerivedBuffer(name: string): boolean {
  return /(^|\.)(inv_freq|causal_mask)$/.test(name)
}

function invalid(where: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${where}: ${what}`)
}
