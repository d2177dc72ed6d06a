import { cString, listOf } from './bytes.mjs'

const architectures = { 16777223: 'x64', 16777228: 'arm64' }
const commands = { symbols: 0x2, library: 0xc, signature: 0x1d, version: 0x32, oldVersion: 0x24 }

/** The same of a 64-bit Mach-O library, macOS's format, and the oldest system that it is for. */
export function readMachO(bytes) {
  let at = 32
  const loadCommands = listOf(bytes.readUInt32LE(16), () => {
    const size = bytes.readUInt32LE(at + 4)
    const command = { type: bytes.readUInt32LE(at) & 0x7fffffff, at, size }
    at += size
    return command
  })
  const all = type => loadCommands.filter(command => command.type === type)
  const libraries = all(commands.library).map(({ at }) =>
    cString(bytes, at + bytes.readUInt32LE(at + 8)),
  )
  const [build] = all(commands.version)
  const [old] = all(commands.oldVersion)
  const version = build ? bytes.readUInt32LE(build.at + 12) : old && bytes.readUInt32LE(old.at + 8)
  const [signature] = all(commands.signature)
  return {
    format: 'Mach-O',
    arch: architectures[bytes.readUInt32LE(4)],
    libraries,
    ...symbols(bytes, all(commands.symbols)[0].at, libraries),
    oldestSystem: version && `${version >> 16}.${(version >> 8) & 0xff}`,
    signature: signature && readSignature(bytes, bytes.readUInt32LE(signature.at + 8)),
  }
}

function symbols(bytes, command, libraries) {
  const [offset, count, names] = [8, 12, 16].map(field => bytes.readUInt32LE(command + field))
  const imports = []
  const exports = []
  for (const index of Array(count).keys()) {
    const at = offset + 16 * index
    const name = cString(bytes, names + bytes.readUInt32LE(at)).replace(/^_/, '')
    const type = bytes[at + 4]
    const isExternal = (type & 0x1) !== 0
    const isPrivate = (type & 0x10) !== 0
    if ((type & 0xe0) !== 0 || !isExternal || isPrivate) continue
    if ((type & 0x0e) !== 0) exports.push(name)
    // 254 and 255: looked up in whatever is loaded, as Node's own functions are.
    else imports.push({ name, library: libraries[(bytes.readUInt16LE(at + 6) >> 8) - 1] })
  }
  return { imports, exports }
}

/** A signature is big-endian. An ad-hoc one has a code directory of hashes and nobody's certificate. */
function readSignature(bytes, at) {
  const superBlob = 0xfade0cc0
  if (bytes.readUInt32BE(at) !== superBlob) return 'broken'
  const kinds = listOf(bytes.readUInt32BE(at + 8), index => bytes.readUInt32BE(at + 12 + 8 * index))
  const certificate = 0x10000
  if (kinds.includes(certificate)) return 'certified'
  const directory = at + bytes.readUInt32BE(at + 16)
  return bytes.readUInt32BE(directory + 12) & 0x2 ? 'ad-hoc' : 'broken'
}
