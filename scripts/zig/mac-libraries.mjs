import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

// What the Metal backend uses (native/metal/objc.h and mtl.h), of libraries that are on every Mac and
// that Zig does not know. Classes and methods are looked up by name when it runs.
const libraries = [
  {
    stub: 'Metal.framework/Metal.tbd',
    installed: '/System/Library/Frameworks/Metal.framework/Versions/A/Metal',
    functions: ['MTLCopyAllDevices', 'MTLCreateSystemDefaultDevice'],
  },
  {
    stub: 'Foundation.framework/Foundation.tbd',
    installed: '/System/Library/Frameworks/Foundation.framework/Versions/C/Foundation',
    functions: [],
  },
  {
    stub: 'CoreGraphics.framework/CoreGraphics.tbd',
    installed: '/System/Library/Frameworks/CoreGraphics.framework/Versions/A/CoreGraphics',
    functions: [],
  },
  {
    stub: 'libobjc.tbd',
    installed: '/usr/lib/libobjc.A.dylib',
    functions: [
      'objc_autoreleasePoolPop',
      'objc_autoreleasePoolPush',
      'objc_getClass',
      'objc_msgSend',
      'objc_release',
      'objc_retain',
      'sel_registerName',
    ],
  },
]

/** Writes what a linker wants to know of those libraries, as Apple's SDK has it, and returns its flags. */
export function writeMacLibraries(folder) {
  const targets = '[ x86_64-macos, arm64-macos ]'
  for (const { stub, installed, functions } of libraries) {
    const symbols = functions.map(name => `_${name}`).join(', ')
    const exports = `exports:\n  - targets: ${targets}\n    symbols: [ ${symbols} ]\n`
    const file = join(folder, stub)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(
      file,
      `--- !tapi-tbd
tbd-version: 4
targets: ${targets}
install-name: '${installed}'
current-version: 1
compatibility-version: 1
${functions.length > 0 ? exports : ''}...
`,
    )
  }
  return [`-F${folder}`, `-L${folder}`]
}
