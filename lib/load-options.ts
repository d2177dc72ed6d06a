import type { BackendName } from './backends.js'
import { type DType, dtypes } from './checkpoint.js'
import { defaultThreads } from './cpu-quota.js'
import { invalidArgument } from './errors.js'
import {
  readBoolean,
  readChoice,
  readFunction,
  readInteger,
  readObject,
  readSignal,
} from './validate.js'

export interface LoadOptions {
  /**
   * What runs the model. Default 'auto': the first of cuda, metal and cpu that is available, and cpu
   * where a GPU has too little memory, cannot run the model's shape, or fails to load it.
   */
  backend?: 'auto' | BackendName
  /** Which of several GPUs, from 0. Default 0. */
  deviceIndex?: number
  /**
   * What the matrices are kept as in memory. Default 'auto': what the checkpoint stores. q8 and q4
   * quantise while loading.
   */
  dtype?: 'auto' | DType
  /** Tokens that a session can hold, from 1 up. Default the model's own, 2048 for all released ones. */
  contextLength?: number
  /** Threads of the cpu backend, from 1 to 1024. Default the physical cores, or what a container's quota allows. */
  threads?: number
  /**
   * What keys and values are kept as. float16 halves the memory of a context and the time that it
   * takes each token; its relative error is up to 5e-4 an element. Default 'auto': float32 with
   * float32 weights and float16 with q8 and q4 ones, which are far coarser; with 16-bit weights
   * float32 on the CPU, and float16 on GPUs, which multiply in 16 bits.
   */
  kvCacheDtype?: 'auto' | 'float32' | 'float16'
  /**
   * The path of a Hugging Face tokenizer.json, or what such a file holds. Default the one beside the
   * weights, and without one LLaMA's, which the released models use.
   */
  tokenizer?: string | object
  /**
   * How a conversation is written: 'zephyr', 'none', or the text of a Jinja template. Default the
   * chat_template.jinja or the chat_template of tokenizer_config.json beside the weights, and without
   * one 'zephyr', which Apple's Instruct models were tuned with: there, a conversation without a system
   * message begins with an empty one.
   */
  chatTemplate?: string | undefined
  /**
   * Whether to read the files through a memory mapping, which saves a copy while loading. If another
   * process truncates a mapped file meanwhile, this process crashes. Default false.
   */
  mmap?: boolean
  /** Aborts the load, which then rejects with the signal's reason. */
  signal?: AbortSignal
  /** Called now and then while weights are read. What it throws ends the load. */
  onProgress?: (loadedBytes: number, totalBytes: number) => void
}

const longestContext = 2 ** 20

/** Checks what a caller gave and fills in the defaults. */
export function validateLoadOptions(given: LoadOptions | undefined) {
  const options = readObject('options', given)
  const backend = readChoice(
    'options.backend',
    options.backend,
    ['auto', 'cpu', 'cuda', 'metal'] as const,
    'auto',
  )
  const dtype = readChoice('options.dtype', options.dtype, ['auto', ...dtypes] as const, 'auto')
  const kvCacheDtype = readChoice(
    'options.kvCacheDtype',
    options.kvCacheDtype,
    ['auto', 'float32', 'float16'] as const,
    'auto',
  )
  const { tokenizer, chatTemplate } = options
  const isTokenizer = ['string', 'object', 'undefined'].includes(typeof tokenizer)
  if (!isTokenizer || tokenizer === null) {
    throw invalidArgument('options.tokenizer', 'a path or an object', tokenizer)
  }
  if (chatTemplate !== undefined && typeof chatTemplate !== 'string') {
    throw invalidArgument(
      'options.chatTemplate',
      'the name or the text of a template',
      chatTemplate,
    )
  }
  return {
    deviceIndex: readInteger('options.deviceIndex', options.deviceIndex, {
      min: 0,
      max: 255,
      fallback: 0,
    }),
    dtype: dtype === 'auto' ? undefined : dtype,
    contextLength: readContextLength(options.contextLength),
    threads: readInteger('options.threads', options.threads, {
      min: 1,
      max: 1024,
      fallback: defaultThreads(),
    }),
    kvCacheDtype,
    tokenizer: tokenizer as string | object | undefined,
    chatTemplate,
    mmap: readBoolean('options.mmap', options.mmap, false),
    signal: readSignal('options.signal', options.signal),
    onProgress: readFunction<NonNullable<LoadOptions['onProgress']>>(
      'options.onProgress',
      options.onProgress,
    ),
    backend,
  }
}

export function readContextLength(value: unknown): number | undefined {
  return readInteger('options.contextLength', value, {
    min: 1,
    max: longestContext,
    fallback: undefined,
  })
}
