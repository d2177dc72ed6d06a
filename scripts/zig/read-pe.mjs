import { cString, listOf } from './bytes.mjs'

const architectures = { 34404: 'x64', 43620: 'arm64' }

/** The same of a 64-bit PE library, Windows' format. */
export function readPe(bytes) {
  const header = bytes.readUInt32LE(0x3c) + 4
  const optional = header + 20
  const sections = listOf(bytes.readUInt16LE(header + 2), index => {
    const at = optional + bytes.readUInt16LE(header + 16) + 40 * index
    const [size, address, , offset] = [8, 12, 16, 20].map(field => bytes.readUInt32LE(at + field))
    return { size, address, offset }
  })
  const offsetOf = address => {
    const section = sections.find(s => address >= s.address && address < s.address + s.size)
    return address - section.address + section.offset
  }
  const [exportTable, importTable, , , , , , , , , , , , delayTable] = listOf(16, index =>
    bytes.readUInt32LE(optional + 112 + 8 * index),
  )

  const libraries = []
  const imports = []
  for (let at = importTable && offsetOf(importTable); at && bytes.readUInt32LE(at + 12); at += 20) {
    const library = cString(bytes, offsetOf(bytes.readUInt32LE(at + 12)))
    libraries.push(library)
    const names = bytes.readUInt32LE(at) || bytes.readUInt32LE(at + 16)
    for (let entry = offsetOf(names); ; entry += 8) {
      const value = bytes.readBigUInt64LE(entry)
      if (value === 0n) break
      const isNumber = value >> 63n === 1n
      const name = isNumber ? `#${value & 0xffffn}` : cString(bytes, offsetOf(Number(value)) + 2)
      imports.push({ name, library })
    }
  }
  return {
    format: 'PE',
    arch: architectures[bytes.readUInt16LE(header)],
    libraries,
    imports,
    exports: exportTable ? exportedNames(bytes, offsetOf(exportTable), offsetOf) : [],
    isDelayed: delayTable !== 0,
    timestamp: bytes.readUInt32LE(header + 4),
  }
}

function exportedNames(bytes, table, offsetOf) {
  const names = offsetOf(bytes.readUInt32LE(table + 32))
  return listOf(bytes.readUInt32LE(table + 24), index =>
    cString(bytes, offsetOf(bytes.readUInt32LE(names + 4 * index))),
  )
}
