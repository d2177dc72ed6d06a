import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'

/**
 * What native/binding.gyp says about compiling for `os` ('linux', 'win32' or 'darwin'), for a compiler
 * that takes clang's arguments. Without its comments, such a file is an expression of JavaScript.
 */
export function readGyp(os) {
  const text = readFileSync('native/binding.gyp', 'utf8').replaceAll(/(^|\s)#.*$/gm, '')
  const { variables, targets } = runInNewContext(`(${text})`)
  const [target] = targets
  const find = condition => target.conditions.find(([text]) => text === condition)
  const [, windows] = find('OS == "win"')
  const [, , mac] = find('OS != "mac"')
  const expand = flag => (flag === '<@(float_flags)' ? variables.float_flags : [flag])
  const defines = [...target.defines, ...(os === 'win32' ? windows.defines : [])]
  return {
    flags: [
      ...[...target.cflags, ...target.cflags_cc].flatMap(expand),
      ...defines.map(name => `-D${name}`),
    ],
    libraries: os === 'darwin' ? mac.libraries.flatMap(library => library.split(' ')) : [],
    macVersion: target.xcode_settings.MACOSX_DEPLOYMENT_TARGET,
  }
}
