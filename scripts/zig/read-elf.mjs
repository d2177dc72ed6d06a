import { cString, listOf } from './bytes.mjs'

const architectures = { 62: 'x64', 183: 'arm64' }
const sectionTypes = { dynamic: 6, dynsym: 11, versions: 0x6fffffff, needed: 0x6ffffffe }

/** What a 64-bit ELF library is for, what it wants from others, and what it gives (see read-binary.mjs). */
export function readElf(bytes) {
  const sections = sectionHeaders(bytes)
  const find = type => sections.find(section => section.type === type)
  const symbols = find(sectionTypes.dynsym)
  const names = sections[symbols.link].offset
  const versionNames = neededVersions(bytes, sections, find(sectionTypes.needed))
  const versions = find(sectionTypes.versions)

  const imports = []
  const exports = []
  for (let index = 1; index < symbols.size / 24; index++) {
    const at = symbols.offset + 24 * index
    const name = cString(bytes, names + bytes.readUInt32LE(at))
    const isWeak = bytes[at + 4] >> 4 === 2
    const section = bytes.readUInt16LE(at + 6)
    const version = versions && versionNames.get(bytes.readUInt16LE(versions.offset + 2 * index))
    if (section === 0) imports.push({ name, version, isWeak })
    else if (bytes[at + 5] === 0) exports.push(name)
  }
  return {
    format: 'ELF',
    arch: architectures[bytes.readUInt16LE(18)],
    libraries: neededLibraries(bytes, sections, find(sectionTypes.dynamic)),
    imports,
    exports,
  }
}

function sectionHeaders(bytes) {
  const [offset, size, count] = [
    Number(bytes.readBigUInt64LE(40)),
    ...[58, 60].map(at => bytes.readUInt16LE(at)),
  ]
  return listOf(count, index => {
    const at = offset + size * index
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    }
  })
}

function neededLibraries(bytes, sections, dynamic) {
  const names = sections[dynamic.link].offset
  const needed = 1n
  return listOf(dynamic.size / 16, index => dynamic.offset + 16 * index)
    .filter(at => bytes.readBigInt64LE(at) === needed)
    .map(at => cString(bytes, names + Number(bytes.readBigUInt64LE(at + 8))))
}

/** The names of versions, such as GLIBC_2.28, by the numbers that symbols have. */
function neededVersions(bytes, sections, section) {
  const result = new Map()
  if (!section) return result
  const names = sections[section.link].offset
  for (let library = section.offset, next = 1; next; library += next) {
    next = bytes.readUInt32LE(library + 12)
    let at = library + bytes.readUInt32LE(library + 8)
    for (let left = bytes.readUInt16LE(library + 2); left > 0; left--) {
      result.set(bytes.readUInt16LE(at + 6), cString(bytes, names + bytes.readUInt32LE(at + 8)))
      at += bytes.readUInt32LE(at + 12)
    }
  }
  return result
}
