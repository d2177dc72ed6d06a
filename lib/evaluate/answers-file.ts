import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OpenELMError } from '../errors.js'
import { ioError } from '../files.js'
import { linesOf } from '../json-parts.js'
import { finishInSlices, type Steps } from '../steps.js'
import type { Score } from '../token-scores.js'
import type { EncodedRequest } from './encode-request.js'
import { isRecord } from './row.js'

/** What a model says of a request. */
export type Answer = Pick<Score, 'logprob' | 'isGreedy'>

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
  static async open(file: string, signal?: AbortSignal): Promise<AnswersFile> {
    let fd: number
    try {
      mkdirSync(dirname(file), { recursive: true })
      fd = openSync(file, 'a+')
    } catch (cause) {
      throw ioError('write', file, cause)
    }
    try {
      const bytes = await readFile(file)
      const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1)
      const answers = await finishInSlices(readAnswers(whole, file), signal)
      if (whole.length < bytes.length) ftruncateSync(fd, whole.length)
      return new AnswersFile(file, fd, answers)
    } catch (error) {
      closeSync(fd)
      signal?.throwIfAborted()
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

function* readAnswers(lines: Uint8Array, file: string): Steps<Map<string, Answer[]>> {
  const answers = new Map<string, Answer[]>()
  let row = 0
  for (const line of linesOf(lines)) {
    row++
    const read = parseLine(Buffer.from(line.buffer, line.byteOffset, line.length).toString())
    if (!read) {
      const message = `${file}: row ${row}: expected the answers of a document, as this package writes them`
      throw new OpenELMError('INVALID_DATA', message)
    }
    answers.set(...read)
    yield ''
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
