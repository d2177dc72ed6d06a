import { entryPoints } from './entry-points.mjs'
import { readBinary } from './read-binary.mjs'
import { oldest } from './targets.mjs'

const isNodeApi = name => /^(napi|node_api)_/.test(name)
// What Zig exports beside the entry points. On Windows and macOS a program names the library that it wants a
// function of, so that nobody takes these by mistake; Zig's linker for macOS can hide none.
const surplusExports = { linux: /^$/, win32: /^(_Unwind_|unw_|_GCC_)/, darwin: /./ }
/** Electron forbids external buffers, and a library never ends its process. */
const isForbidden = name => /^(napi_create_external_|exit$|_exit$|__assert_fail)/.test(name)

const frameworks = '/System/Library/Frameworks/(Metal|Foundation|CoreGraphics)\\.framework/'

// What every system of its kind has. The C++ library is inside the addon.
const libraries = {
  linux: /^lib(c|m|pthread|dl|rt)\.so(\.\d+)?$|^ld-linux-.*\.so\.\d+$/,
  win32: /^(kernel32|ntdll|advapi32|api-ms-win-crt-[\w-]+|ucrtbase|msvcrt)\.dll$/i,
  darwin: new RegExp(`^/usr/lib/lib(System\\.B|objc\\.A)\\.dylib$|^${frameworks}`),
}

/** What is wrong with a prebuild of a target of targets.mjs, in sentences. `bytes` is the file. */
export function prebuildFaults({ os, arch, zig }, bytes) {
  const binary = readBinary(bytes)
  const faults = []
  const expect = (isSo, what) => isSo || faults.push(what)
  expect(binary.arch === arch, `it is for ${binary.arch}`)
  expect(bytes.length <= 4e6, `it has ${bytes.length} bytes`)
  for (const library of binary.libraries) {
    expect(libraries[os].test(library), `it wants ${library}`)
  }
  for (const { name } of binary.imports) expect(!isForbidden(name), `it calls ${name}`)
  const missing = entryPoints.filter(name => !binary.exports.includes(name))
  expect(missing.length === 0, `it does not give ${missing}`)
  const surplus = binary.exports.filter(
    name => !entryPoints.includes(name) && !surplusExports[os].test(name),
  )
  expect(surplus.length === 0, `it also gives ${surplus}`)

  if (os === 'linux') {
    const glibc = zig.includes('musl') ? undefined : oldest.glibc
    for (const { name, version, isWeak } of binary.imports) {
      if (isNodeApi(name)) continue
      expect(isWeak || isOldEnough(version, glibc), `it wants ${name} of ${version}`)
    }
  } else if (os === 'win32') {
    // Its functions of Node-API come from whichever program has loaded it.
    expect(!binary.imports.some(({ name }) => isNodeApi(name)), 'it imports Node-API by file')
  } else {
    for (const { name, library } of binary.imports) {
      expect(Boolean(library) !== isNodeApi(name), `it wants ${name} of ${library}`)
    }
    expect(binary.oldestSystem === oldest.macos, `it wants macOS ${binary.oldestSystem}`)
    // Macs with Intel's processors load what is not signed; Zig signs for the others.
    const signature = arch === 'arm64' ? 'ad-hoc' : undefined
    expect(binary.signature === signature, `its signature is ${binary.signature}`)
  }
  return faults
}

/** musl's symbols have no versions, and glibc's one like GLIBC_2.17. */
function isOldEnough(version, glibc) {
  if (!glibc) return version === undefined
  const [, major, minor] = /^GLIBC_(\d+)\.(\d+)/.exec(version) ?? [undefined, 99, 99]
  const [oldestMajor, oldestMinor] = glibc.split('.').map(Number)
  return Number(major) === oldestMajor && Number(minor) <= oldestMinor
}
