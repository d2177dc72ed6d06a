import { basename } from 'node:path'
import type { OpenELMConfig } from '../config.js'
import { invalidArgument, OpenELMError } from '../errors.js'
import type { NativeModel } from '../native.js'
import type { DType } from '../tensor-headers.js'
import { remarkOn } from './adapter.js'
import type { AdapterChoice } from './adapter-choice.js'
import type { namedAdapterSpec } from './adapter-spec.js'
import { readAdapter } from './read-adapter.js'

/** An adapter that a model holds beside its weights. */
export interface LoadedAdapter {
  /** What calls and sessions choose it by. */
  readonly name: string
  readonly method: 'lora' | 'dora'
  /** Of the matrix with the highest one. */
  readonly rank: number
  /** The matrices that it changes, by their names in a checkpoint. */
  readonly targets: readonly string[]
  /** Bytes of memory that it takes. */
  readonly bytes: number
  /** What the user should know: it has learnt beside weights of another dtype. */
  readonly remark: string | undefined
}

/** Adapters as native code knows them, each with its scale. They are kept until this is disposed. */
export interface ChosenAdapters extends Disposable {
  readonly ids: Int32Array
  readonly scales: Float32Array
}

/** The adapters of a model. */
export class LoadedAdapters {
  readonly #native: NativeModel
  readonly #config: OpenELMConfig
  /** Of the model's weights in memory. */
  readonly #dtype: DType
  /** Those without an id are being loaded. */
  readonly #loaded = new Map<string, { id: number; adapter: LoadedAdapter } | undefined>()
  /** By calls that have not opened their session yet. */
  readonly #chosen = new Set<Int32Array>()

  constructor(native: NativeModel, config: OpenELMConfig, dtype: DType) {
    this.#native = native
    this.#config = config
    this.#dtype = dtype
  }

  get list(): LoadedAdapter[] {
    return [...this.#loaded.values()].flatMap(loaded => loaded?.adapter ?? [])
  }

  /** Returns the name. */
  async load(spec: ReturnType<typeof namedAdapterSpec>): Promise<string> {
    const name = spec.name ?? basename(spec.path).replace(/\.safetensors$/, '')
    if (this.#loaded.has(name)) {
      const message = `there is an adapter ${JSON.stringify(name)} already: give one another name`
      throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'adapter.name' })
    }
    this.#loaded.set(name, undefined)
    try {
      const read = await readAdapter(spec.path, this.#config)
      const { method, targets, adaptsHead } = read
      const given = [...targets].map(([name, target]) => {
        return { ...target, name, scale: target.scale * spec.scale }
      })
      const { id, bytes } = await this.#native.loadAdapter(given, adaptsHead)
      const rank = Math.max(...given.map(target => target.rank))
      const remark = remarkOn(read, this.#dtype)
      const adapter = { name, method, rank, targets: [...targets.keys()], bytes, remark }
      this.#loaded.set(name, { id, adapter })
      return name
    } finally {
      if (this.#loaded.get(name) === undefined) this.#loaded.delete(name)
    }
  }

  unload(name: string): void {
    const { id } = this.#find('name', name)
    this.#loaded.delete(name)
    this.#unloadUnlessChosen(id)
  }

  /** @throws OpenELMError INVALID_ARGUMENT for adapters that are not loaded, or do not go together. */
  choose(choice: AdapterChoice): ChosenAdapters {
    const loaded = this.list
    const [only, another] = loaded
    const byDefault = only && !another ? [{ name: only.name, scale: 1 }] : []
    const parts = (choice ?? byDefault).map(({ name, scale }) => {
      return { ...this.#find('options.adapter', name), scale }
    })
    const dora = parts.find(({ adapter }) => adapter.method === 'dora')
    if (dora && (parts.length > 1 || dora.scale !== 1)) {
      const name = JSON.stringify(dora.adapter.name)
      const message = `${name} is a DoRA adapter, which stands alone, at the scale it was loaded with`
      throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.adapter' })
    }
    const ids = Int32Array.from(parts, ({ id }) => id)
    this.#chosen.add(ids)
    return {
      ids,
      scales: Float32Array.from(parts, ({ scale }) => scale),
      [Symbol.dispose]: () => {
        if (this.#chosen.delete(ids)) for (const id of ids) this.#unloadUnlessChosen(id)
      },
    }
  }

  /** Frees an adapter that has no name any more, once nobody is about to use it. */
  #unloadUnlessChosen(id: number): void {
    const isLoaded = [...this.#loaded.values()].some(loaded => loaded?.id === id)
    if (isLoaded || [...this.#chosen].some(ids => ids.includes(id))) return
    this.#native.unloadAdapter(id)
  }

  #find(argument: string, name: string) {
    const found = this.#loaded.get(name)
    if (found) return found
    const names = this.list.map(({ name }) => JSON.stringify(name))
    const expected = names.length === 0 ? 'loaded before' : `one of ${names.join(', ')}`
    throw invalidArgument(argument, `an adapter that is ${expected}`, name)
  }
}
