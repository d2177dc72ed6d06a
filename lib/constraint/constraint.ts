import { OpenELMError } from '../errors.js'
import { loadNative } from '../native.js'
import type {
  NativeConstrainedText,
  NativeConstraint,
  NativeTokenTables,
  Node,
} from '../native-constraint.js'
import type { Steps } from '../steps.js'
import { plainAlphabet } from './characters.js'
import type { ConstraintSource } from './constraint-source.js'
import { jsonSchema } from './json-schema.js'
import { JsonText } from './json-text.js'
import { matchWhole } from './reg-exp.js'
import { PatternError, parsePattern } from './reg-exp-syntax.js'

/** The texts that fit a schema or a regular expression, as a machine that reads tokens. */
export class Constraint {
  readonly #native: NativeConstraint
  readonly #start: Node
  /** Behind a text whose tokens begin with a space that is not part of it. */
  readonly #spacedStart: Node

  private constructor(native: NativeConstraint, node: Node, isSpaced: boolean) {
    const space = native.text(' ')
    this.#native = native
    this.#start = isSpaced ? native.seq(native.optional(space), node) : node
    this.#spacedStart = native.seq(space, node)
  }

  /** @throws OpenELMError INVALID_ARGUMENT */
  static *compile(source: ConstraintSource, tables: NativeTokenTables): Steps<Constraint> {
    const native = new (loadNative().Constraint)(tables)
    if (source.kind === 'regExp') {
      return new Constraint(native, possible(native, yield* regExp(native, source)), false)
    }
    const json = new JsonText(native)
    const node = possible(native, yield* jsonSchema(json, source.schema))
    native.setCharacters(...json.characters)
    // JSON may begin with a space, and most models do.
    return new Constraint(native, node, true)
  }

  /** Whether it has grown so much that it is better made anew. */
  get isLarge(): boolean {
    return this.#native.isLarge
  }

  /** Whether a whole text fits. */
  accepts(text: string): boolean {
    return this.#native.accepts(this.#native.read(this.#start, Buffer.from(text)))
  }

  /**
   * A text that is to fit.
   *
   * @param ends the tokens that may end it.
   * @param dropsSpace whether the space that the text begins with is not part of it.
   */
  begin(ends: Iterable<number>, dropsSpace: boolean): NativeConstrainedText {
    const start = dropsSpace ? this.#spacedStart : this.#start
    return new (loadNative().ConstrainedText)(this.#native, start, Int32Array.from(ends))
  }
}

function possible(native: NativeConstraint, start: Node): Node {
  if (start !== native.empty) return start
  const message = 'nothing that can be written fits options.responseConstraint'
  throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.responseConstraint' })
}

function* regExp(
  native: NativeConstraint,
  { source, flags }: ConstraintSource & { kind: 'regExp' },
): Steps<Node> {
  try {
    const pattern = parsePattern(source, {
      ignoreCase: flags.includes('i'),
      dotAll: flags.includes('s'),
      multiline: flags.includes('m'),
      unicode: flags.includes('u'),
      unicodeSets: flags.includes('v'),
    })
    return yield* matchWhole(native, pattern, plainAlphabet(native))
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    const message = `the regular expression of options.responseConstraint is not supported: ${error.message}`
    throw new OpenELMError('INVALID_ARGUMENT', message, { argument: 'options.responseConstraint' })
  }
}
