import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'
import type { EncodedRequest } from './encode-request.js'
import { isRecord } from './row.js'
import type { Answer } from './score-continuations.js'

/**
 * The answers of a model, a line of JSON for each document, written as they come. A run that was killed
 * goes on from there: its last line, if it is torn, is forgotten.
 */
export class AnswersFile {
  readonly #file: string
  readonly #fd: number
  readonly #answers: Map<string, Answer[]>

  private constructor(file: string, fd: number, answers: Map<string, Answer[]>) {
    this.#file = file
    this.#fd = fd
    this.#answers = answers
  }

  /** @throws OpenELMError IO_ERROR; INVALID_DATA for a file of something else. */
  static open(file: string): AnswersFile {
    let fd: number
    try {
      mkdirSync(dirname(file), { recursive: true })
      fd = openSync(file, 'a+')
    } catch (cause) {
      throw ioError('write', file, cause)
    }
    try {
      const text = readFileSync(fd, 'utf8')
      const whole = text.slice(0, text.lastIndexOf('\n') + 1)
      const answers = readAnswers(whole, file)
      if (whole.length < text.length) ftruncateSync(fd, Buffer.byteLength(whole))
      return new AnswersFile(file, fd, answers)
    } catch (error) {
      closeSync(fd)
      throw error instanceof OpenELMError ? error : ioError('read', file, error)
    }
  }

  get(key: string): readonly Answer[] | undefined {
    return this.#answers.get(key)
  }

  add(key: string, answers: readonly Answer[]): void {
    const pairs = answers.map(({ logprob, isGreedy }) => [logprob, isGreedy])
    try {
      writeSync(this.#fd, `${JSON.stringify({ key, answers: pairs })}\n`)
    } catch (cause) {
      throw ioError('write', this.#file, cause)
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }
}

/** Stands for what a model is asked: requests of other models, or cut differently, have other keys. */
export function answersKey(fingerprint: string, requests: readonly EncodedRequest[]): string {
  const hash = createHash('sha256').update(fingerprint)
  for (const { context, continuation } of requests) {
    hash.update(Int32Array.of(context.length, continuation.length))
    hash.update(context).update(continuation)
  }
  return hash.digest('hex')
}

function readAnswers(lines: string, file: string): Map<string, Answer[]> {
  const answers = new Map<string, Answer[]>()
  for (const [i, line] of lines.split('\n').slice(0, -1).entries()) {
    const read = parseLine(line)
    if (!read) {
      const message = `${file}: row ${i + 1}: expected the answers of a document, as this package writes them`
      throw new OpenELMError('INVALID_DATA', message)
    }
    answers.set(...read)
  }
  return answers
}

function parseLine(line: string): [key: string, Answer[]] | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (!isRecord(value) || typeof value.key !== 'string' || !Array.isArray(value.answers)) return
  const answers = value.answers.map(([logprob, isGreedy]) => ({ logprob, isGreedy }))
  const areAnswers = answers.every(({ logprob, isGreedy }) => {
    return typeof logprob === 'number' && typeof isGreedy === 'boolean'
  })
  return areAnswers ? [value.key, answers] : undefined
}
