/**
 * Every code an {@link OpenELMError} can carry, and when it is thrown. Codes are stable: programs may
 * branch on them; messages are for people and may change.
 */
export const errorCodes = {
  INVALID_ARGUMENT: 'an argument has the wrong type or is out of its range',
  INVALID_CONFIG: 'config.json is not a valid OpenELM configuration',
  INVALID_CHECKPOINT: 'a safetensors or PyTorch file is malformed or does not fit the config',
  INVALID_GGUF: 'a GGUF file is malformed',
  NOT_CONVERTIBLE: 'the model has something that the format asked for cannot express',
  INVALID_TOKENIZER:
    'a tokenizer.json or a chat template cannot be used, or does not fit the model',
  INVALID_ADAPTER: 'an adapter_config.json is malformed, or its adapter is of a kind not supported',
  MODEL_NOT_FOUND: 'the source is neither a model directory nor the name of a bundled model',
  ACCESS_DENIED: 'the hub lets only some download the model, and knows no such one here',
  DOWNLOAD_FAILED: 'the hub could not be reached, or did not answer as it should',
  CORRUPT_DOWNLOAD: 'a file came from the hub whose hash or length is wrong',
  INVALID_DATA: 'a training file is not text, or there is too little of it',
  IO_ERROR: 'a file could not be opened, read or written',
  OUT_OF_MEMORY: 'the weights, the KV cache or the workspace do not fit in memory',
  CONTEXT_OVERFLOW: 'the tokens do not fit in the context length of the session',
  BUSY: 'the session already has a call under way',
  BACKEND_UNAVAILABLE: 'the backend asked for cannot run on this machine',
  ADDON_NOT_FOUND: 'no native addon for this platform could be loaded',
  DEPENDENCY_NOT_FOUND: 'a package or a library that only this call needs is not installed',
  NON_FINITE_LOGITS: 'the model produced no finite score to choose a token from',
  TRAINING_DIVERGED: 'the loss or the gradients of a training step are not finite',
  RANK_LOST: 'another process of the run has ended or does not answer',
  DISPOSED: 'the model or session was used after dispose()',
  INTERNAL: 'a defect of this package; please report it',
} as const

/** The name of a kind of error: a key of {@link errorCodes}. */
export type OpenELMErrorCode = keyof typeof errorCodes

/** The one error class of this package, thrown by TypeScript and by the native addon alike. */
export class OpenELMError extends Error {
  override readonly name = 'OpenELMError'
  readonly code: OpenELMErrorCode
  /** With INVALID_ARGUMENT, what was wrong, for example `options.maxTokens`; not always known. */
  declare readonly argument?: string

  constructor(
    code: OpenELMErrorCode,
    message: string,
    options?: ErrorOptions & { argument?: string },
  ) {
    super(message, options)
    this.code = code
    if (options?.argument !== undefined) this.argument = options.argument
  }
}

/** The one sentence shape for a bad argument: what was expected, what came. */
export function invalidArgument(name: string, expected: string, received: unknown): OpenELMError {
  return new OpenELMError(
    'INVALID_ARGUMENT',
    `expected ${name} to be ${expected}, received ${describe(received)}`,
    { argument: name },
  )
}

/** A short description of any value, for error messages. */
export function describe(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  }
  if (typeof value === 'function') return `a function`
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value !== 'object') return String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  return `an instance of ${value.constructor?.name ?? 'null prototype'}`
}
