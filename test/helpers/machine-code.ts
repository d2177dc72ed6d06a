import { readFileSync } from 'node:fs'

/**
 * Reads what NVIDIA's assembler has made of a kernel, without a disassembler, which most toolkits that
 * only compile lack: since Volta an instruction is 16 bytes, the lowest 12 bits its operation.
 */
export interface Instruction {
  operation: number
  /** Of a load or store of memory, in bytes. */
  width: number
  /** Of a branch, the index of the instruction to which it goes. */
  target?: number
}

export interface Kernel {
  /** As the linker knows it. */
  symbol: string
  instructions: Instruction[]
}

/** Each in the forms that take an address from registers and from a uniform register. */
export const operations = {
  loadGlobal: [0x381, 0x981],
  storeGlobal: [0x386, 0x986],
  loadLocal: [0x983],
  storeLocal: [0x387, 0x987],
  multiplyAdd: [0x223, 0x423, 0x623, 0x823, 0xa23, 0xc23],
  multiplyMatrices: [0x23c],
  copyToShared: [0xfae],
  waitForPreviousKernel: [0x82e],
  letNextKernelStart: [0x82d],
  branch: [0x547, 0x947],
  exit: [0x94d],
}

export function is(instruction: Instruction, ...kinds: number[][]): boolean {
  return kinds.some(kind => kind.includes(instruction.operation))
}

const bytesPerInstruction = 16
const widths = [1, 1, 2, 2, 4, 8, 16, 16]

function decode(low: bigint, high: bigint, index: number): Instruction {
  const operation = Number(low & 0xfffn)
  const width = widths[Number((high >> 9n) & 7n)]!
  if (!operations.branch.includes(operation)) return { operation, width }
  // Words of 4 bytes from the next instruction: bits 16 to 23 below bits 34 to 81.
  const words = BigInt.asIntN(
    56,
    ((low >> 16n) & 0xffn) | ((low >> 34n) << 8n) | ((high & 0x3ffffn) << 38n),
  )
  return { operation, width, target: index + 1 + Number(words) / 4 }
}

/** The kernels of an ELF file for one architecture, which `nvcc -cubin` makes. */
export function readKernels(path: string): Kernel[] {
  const file = readFileSync(path)
  const number = (offset: number) => Number(file.readBigUInt64LE(offset))
  const sections = Array.from({ length: file.readUInt16LE(60) }, (_, i) => {
    const header = number(40) + i * file.readUInt16LE(58)
    return {
      name: file.readUInt32LE(header),
      offset: number(header + 24),
      size: number(header + 32),
    }
  })
  const names = sections[file.readUInt16LE(62)]!
  return sections.flatMap(({ name, offset, size }) => {
    const start = names.offset + name
    const text = file.toString('latin1', start, file.indexOf(0, start))
    if (!text.startsWith('.text.')) return []
    const instructions = Array.from({ length: size / bytesPerInstruction }, (_, i) => {
      const at = offset + i * bytesPerInstruction
      return decode(file.readBigUInt64LE(at), file.readBigUInt64LE(at + 8), i)
    })
    return [{ symbol: text.slice('.text.'.length), instructions }]
  })
}

/** Of the loops that have no other loop within, the one that does `kind` most often. */
export function mainLoop({ instructions }: Kernel, kind: number[]): Instruction[] {
  const loops = instructions.flatMap(({ target }, end) =>
    target !== undefined && target < end ? [{ start: target, end }] : [],
  )
  const inner = loops.filter(a => !loops.some(b => b !== a && b.start >= a.start && b.end <= a.end))
  const bodies = inner.map(({ start, end }) => instructions.slice(start, end + 1))
  const count = (body: Instruction[]) => body.filter(one => is(one, kind)).length
  return bodies.reduce((best, body) => (count(body) > count(best) ? body : best), [])
}
