import { type NamedAdapterSpec, namedAdapterSpec } from './adapters/adapter-spec.js'
import type { BackendName } from './backends.js'
import { type DType, dtypes } from './checkpoint.js'
import { defaultThreads } from './cpu-quota.js'
import {
  abortSignal,
  arrayOf,
  boolean,
  callback,
  integer,
  oneOf,
  optional,
  pathOrObject,
  type RulesOf,
  readOptions,
  string,
} from './options.js'

/** Options of `OpenELM.load`. */
export interface LoadOptions {
  /**
   * What runs the model. Default 'auto': the first of cuda, metal and cpu that is available, and cpu
   * where a GPU has too little memory, cannot run the model's shape, or fails to load it, and for a
   * packed checkpoint, which no other backend can load.
   */
  backend?: 'auto' | BackendName | undefined
  /** Which of several GPUs, from 0. Default 0. */
  deviceIndex?: number | undefined
  /**
   * What the matrices are kept as in memory. Default 'auto': what the checkpoint stores. q8 and q4
   * quantise while loading. A packed checkpoint can be loaded only as what it stores.
   */
  dtype?: 'auto' | DType | undefined
  /** Tokens that a session can hold, from 1 up. Default the model's own, 2048 for all released ones. */
  contextLength?: number | undefined
  /** Threads of the cpu backend, from 1 to 1024. Default the physical cores, or what a container's quota allows. */
  threads?: number | undefined
  /**
   * What keys and values are kept as. float16 halves the memory of a context and the time that it
   * takes each token; its relative error is up to 5e-4 an element. Default 'auto': float32 with
   * float32 weights and float16 with q8 and q4 ones, which are far coarser; with 16-bit weights
   * float32 on the CPU, and float16 on GPUs, which multiply in 16 bits.
   */
  kvCacheDtype?: 'auto' | 'float32' | 'float16' | undefined
  /**
   * The path of a Hugging Face tokenizer.json, or what such a file holds. Default the one beside the
   * weights, and without one LLaMA's, which the released models use.
   */
  tokenizer?: string | object | undefined
  /**
   * How a conversation is written: 'zephyr', 'none', or the text of a Jinja template. Default the
   * chat_template.jinja or the chat_template of tokenizer_config.json beside the weights, and without
   * one 'zephyr', which Apple's Instruct models were tuned with: there, a conversation without a system
   * message begins with an empty one.
   *
   * The template of a checkpoint is a program of whoever made it. It reaches nothing but the messages and
   * is ended after a second, which it can hold the event loop for; a server that loads checkpoints of
   * strangers names a template itself.
   */
  chatTemplate?: string | undefined
  /**
   * Whether to map the files into memory. On the CPU the weights of a packed checkpoint then stay in the
   * mapped files, which all processes share, until the model is disposed; of others mapping saves a copy
   * while loading. If a mapped file is truncated or overwritten, this process crashes or computes with
   * other weights. Default true for a packed checkpoint, and false for others.
   */
  mmap?: boolean | undefined
  /**
   * Whether a model named `owner/name` that is not on this machine is pulled from the Hugging Face hub.
   * Default true.
   */
  download?: boolean | undefined
  /**
   * LoRA or DoRA adapters to load beside the weights: paths of directories of PEFT or mlx-lm, or of
   * .safetensors files with CoreNet's names. See `OpenELM.loadAdapter`; 'auto' is then backend 'cpu'.
   * Default none.
   */
  adapters?: readonly (string | NamedAdapterSpec)[] | undefined
  /** Aborts the load, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /**
   * Called now and then while files are downloaded, if they are, and then while weights are read. What it
   * throws ends the load.
   */
  onProgress?:
    | ((doneBytes: number, totalBytes: number, phase: 'download' | 'load') => void)
    | undefined
}

export const contextLength = integer(1, 2 ** 20)

const rules = {
  backend: optional(oneOf('auto', 'cpu', 'cuda', 'metal'), 'auto'),
  deviceIndex: optional(integer(0, 255), 0),
  dtype: optional(oneOf('auto', ...dtypes), 'auto'),
  contextLength: optional(contextLength),
  threads: optional(integer(1, 1024)),
  kvCacheDtype: optional(oneOf('auto', 'float32', 'float16'), 'auto'),
  tokenizer: optional(pathOrObject),
  chatTemplate: optional(string),
  mmap: optional(boolean),
  download: optional(boolean, true),
  adapters: optional(arrayOf(namedAdapterSpec), []),
  signal: optional(abortSignal),
  onProgress: optional(callback<NonNullable<LoadOptions['onProgress']>>()),
} satisfies RulesOf<LoadOptions>

/** @throws OpenELMError INVALID_ARGUMENT */
export function readLoadOptions(options: LoadOptions | undefined) {
  const { backend, dtype, threads = defaultThreads(), ...given } = readOptions(options, rules)
  return {
    ...given,
    backend: backend === 'auto' && given.adapters.length > 0 ? 'cpu' : backend,
    dtype: dtype === 'auto' ? undefined : dtype,
    threads,
  }
}
