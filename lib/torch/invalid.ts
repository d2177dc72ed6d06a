import { OpenELMError } from '../errors.js'

/** The error for a PyTorch file that cannot be read: it names the file and what was found. */
export function invalid(file: string, what: string): OpenELMError {
  return new OpenELMError('INVALID_CHECKPOINT', `${file}: ${what}`)
}
