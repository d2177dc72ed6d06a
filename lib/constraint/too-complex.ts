import { OpenELMError } from '../errors.js'

/** What the caller gave takes more than anybody should wait for. */
export function tooComplex(what: string): OpenELMError {
  return new OpenELMError('INVALID_ARGUMENT', `the response constraint is too complex: ${what}`, {
    argument: 'options.responseConstraint',
  })
}
