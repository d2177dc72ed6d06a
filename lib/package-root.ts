import { fileURLToPath } from 'node:url'
import { OpenELMError } from './errors.js'

/**
 * The directory of this package, with `native`, `models` and the addon in it.
 *
 * @param moduleUrl `import.meta.url` of a file in `lib` or `dist`.
 * @throws OpenELMError ADDON_NOT_FOUND where modules have no file of their own, as in a bundle.
 */
export function packageRoot(moduleUrl: string | undefined = import.meta.url): string {
  try {
    // Node's own `import.meta.dirname` is missing in Jest and in other loaders.
    return fileURLToPath(new URL('..', moduleUrl))
  } catch (cause) {
    const what = `cannot tell where the package openelm lies: import.meta.url is ${moduleUrl}`
    const advice = 'leave openelm out of the bundle (mark it as external)'
    throw new OpenELMError('ADDON_NOT_FOUND', `${what}; ${advice}`, { cause })
  }
}

/** Where an Electron app keeps what native code opens: beside its archive, which JavaScript alone can read. */
export function unpacked(path: string): string {
  return path.replace(/\bapp\.asar(?=[\\/]|$)/, 'app.asar.unpacked')
}
