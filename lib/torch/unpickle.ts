import { describeJson } from '../strict-json.js'
import { invalid } from './invalid.js'

/** What a pickle names and may call: a class or a function of Python, of which only the name is used. */
export class PickleGlobal {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** What the names of a pickle stand for. */
export interface PickleNames {
  /** Whether a pickle may name this class or function, for example `collections.OrderedDict`. */
  knows(name: string): boolean
  /** What calling it makes. Anything thrown ends the reading. */
  call(name: string, args: readonly unknown[]): unknown
  /** What lies outside of the pickle under this id. */
  load(id: unknown): unknown
}

/**
 * Reads a pickle of protocol 2, the one that `torch.save` writes. It builds `null`, booleans, numbers
 * (a bigint beyond exact integers), strings, arrays of lists and tuples, Maps of dicts, and what `names`
 * makes; it imports and executes nothing. Every other opcode is refused.
 *
 * @param file names the source in error messages.
 * @throws OpenELMError INVALID_CHECKPOINT, or whatever `names` throws.
 */
export function unpickle(bytes: Buffer, file: string, names: PickleNames): unknown {
  return new Unpickler(bytes, file, names).run()
}

/**
 * Each operation makes one value or moves some, so this also bounds the depth, the memo and the memory:
 * some 50 MB. The training state of the 3B model takes about 70,000.
 */
const maxOperations = 2 ** 18
const maxNameBytes = 256

class Unpickler {
  readonly #bytes: Buffer
  readonly #file: string
  readonly #names: PickleNames
  readonly #stack: unknown[] = []
  /** How long the stack was at each MARK that is still open. */
  readonly #marks: number[] = []
  readonly #memo = new Map<number, unknown>()
  #position = 0

  constructor(bytes: Buffer, file: string, names: PickleNames) {
    this.#bytes = bytes
    this.#file = file
    this.#names = names
  }

  run(): unknown {
    const protocol = this.#bytes[0] === 0x80 ? this.#bytes[1] : 'an older one'
    if (protocol !== 2) {
      throw invalid(
        this.#file,
        `expected a pickle of protocol 2, as torch.save writes, received ${protocol}`,
      )
    }
    this.#position = 2
    for (let i = 0; i < maxOperations; i++) {
      const opcode = this.#take(1)[0]!
      if (opcode === stop) return this.#pop()
      const operation = this.#operations[opcode]
      if (operation === undefined) {
        throw this.#fail(
          `opcode 0x${opcode.toString(16)}, which tensors and plain values never need`,
        )
      }
      operation()
    }
    throw this.#fail(`more than ${maxOperations} operations`)
  }

  readonly #operations: Readonly<Record<number, () => void>> = {
    [code('(')]: () => this.#marks.push(this.#stack.length),
    [code('N')]: () => this.#push(null),
    136: () => this.#push(true),
    137: () => this.#push(false),
    [code('K')]: () => this.#push(this.#take(1).readUInt8()),
    [code('M')]: () => this.#push(this.#take(2).readUInt16LE()),
    [code('J')]: () => this.#push(this.#take(4).readInt32LE()),
    138: () => this.#push(toInteger(this.#take(this.#take(1).readUInt8()))),
    [code('G')]: () => this.#push(this.#take(8).readDoubleBE()),
    [code('X')]: () => this.#push(this.#text(this.#take(this.#take(4).readUInt32LE()))),
    [code(']')]: () => this.#push([]),
    [code(')')]: () => this.#push([]),
    [code('}')]: () => this.#push(new Map()),
    [code('t')]: () => this.#push(this.#popToMark()),
    133: () => this.#push(this.#popMany(1)),
    134: () => this.#push(this.#popMany(2)),
    135: () => this.#push(this.#popMany(3)),
    [code('a')]: () => this.#append(this.#popMany(1)),
    [code('e')]: () => this.#append(this.#popToMark()),
    [code('s')]: () => this.#setItems(this.#popMany(2)),
    [code('u')]: () => this.#setItems(this.#popToMark()),
    [code('q')]: () => this.#memo.set(this.#take(1).readUInt8(), this.#top()),
    [code('r')]: () => this.#memo.set(this.#take(4).readUInt32LE(), this.#top()),
    [code('h')]: () => this.#recall(this.#take(1).readUInt8()),
    [code('j')]: () => this.#recall(this.#take(4).readUInt32LE()),
    [code('c')]: () => this.#global(),
    [code('R')]: () => this.#reduce(),
    [code('b')]: () => this.#build(),
    [code('Q')]: () => this.#push(this.#names.load(this.#pop())),
  }

  #take(length: number): Buffer {
    const begin = this.#position
    this.#position += length
    if (this.#position > this.#bytes.length) {
      throw invalid(this.#file, 'its pickle is cut short')
    }
    return this.#bytes.subarray(begin, this.#position)
  }

  #push(value: unknown): void {
    this.#stack.push(value)
  }

  #top(): unknown {
    return this.#stack[this.#base(1)]
  }

  #pop(): unknown {
    return this.#popMany(1)[0]
  }

  #popMany(count: number): unknown[] {
    return this.#stack.splice(this.#base(count))
  }

  /** Where the last `count` values begin, which must be newer than the last open MARK. */
  #base(count: number): number {
    const base = this.#stack.length - count
    if (base < (this.#marks.at(-1) ?? 0)) throw this.#fail('a value that is not there')
    return base
  }

  #popToMark(): unknown[] {
    const mark = this.#marks.pop()
    if (mark === undefined) throw this.#fail('a mark that is not there')
    return this.#stack.splice(mark)
  }

  #append(items: readonly unknown[]): void {
    const list = this.#top()
    if (!Array.isArray(list)) throw this.#fail('an item for what is no list')
    for (const item of items) list.push(item)
  }

  #setItems(items: readonly unknown[]): void {
    const dict = this.#top()
    if (!(dict instanceof Map) || items.length % 2 !== 0) {
      throw this.#fail('an item for what is no dict')
    }
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1])
  }

  #recall(index: number): void {
    if (!this.#memo.has(index)) throw this.#fail(`value ${index}, which is not there`)
    this.#push(this.#memo.get(index))
  }

  #text(bytes: Buffer): string {
    try {
      return utf8.decode(bytes)
    } catch {
      throw this.#fail('text that is not UTF-8')
    }
  }

  #line(): string {
    const rest = this.#bytes.subarray(this.#position, this.#position + maxNameBytes)
    const length = rest.indexOf('\n')
    if (length < 0) throw this.#fail('a name without an end')
    const line = this.#text(this.#take(length))
    this.#position++
    return line
  }

  #global(): void {
    const name = `${this.#line()}.${this.#line()}`
    if (!this.#names.knows(name)) {
      const advice = 'only tensors and plain values are read, and nothing is executed'
      throw this.#fail(`the name ${describeJson(name)}; ${advice}`)
    }
    this.#push(new PickleGlobal(name))
  }

  #reduce(): void {
    const [callee, args] = this.#popMany(2)
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) {
      throw this.#fail('a call of what cannot be called')
    }
    this.#push(this.#names.call(callee.name, args))
  }

  /** Attributes are left out: an OrderedDict of `state_dict()` carries the versions of its modules. */
  #build(): void {
    const state = this.#pop()
    if (!(this.#top() instanceof Map) || !(state instanceof Map)) {
      throw this.#fail('a state for what is no OrderedDict')
    }
  }

  #fail(what: string) {
    return invalid(this.#file, `its pickle has, at byte ${this.#position}, ${what}`)
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const stop = code('.')

function code(character: string): number {
  return character.charCodeAt(0)
}

/** Of little-endian bytes in two's complement. */
function toInteger(bytes: Buffer): number | bigint {
  const digits = Buffer.from(bytes).reverse().toString('hex')
  const value = BigInt.asIntN(8 * bytes.length, BigInt(digits === '' ? 0 : `0x${digits}`))
  return Number.isSafeInteger(Number(value)) ? Number(value) : value
}
