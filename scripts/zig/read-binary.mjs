import { readElf } from './read-elf.mjs'
import { readMachO } from './read-mach-o.mjs'
import { readPe } from './read-pe.mjs'

/**
 * What a library of Linux, Windows or macOS is for (`format`, `arch`), the `libraries` that it names,
 * the functions that it wants (`imports`: name, and library or version where the format has them) and
 * those that it gives (`exports`).
 */
export function readBinary(bytes) {
  const magic = bytes.readUInt32BE(0)
  if (magic === 0x7f454c46) return readElf(bytes)
  if (magic === 0xcffaedfe) return readMachO(bytes)
  if (magic >>> 16 === 0x4d5a) return readPe(bytes)
  throw new Error('neither ELF nor Mach-O nor PE')
}
