import type { IncomingMessage } from 'node:http'
import { ApiError } from './openai-error.js'

/**
 * Reads a request's JSON object.
 *
 * @throws ApiError 400, 413, 415
 */
export async function readBody(
  req: IncomingMessage,
  maxBytes: number,
): Promise<Readonly<Record<string, unknown>>> {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = req.headers
  // A browser sends no such type to another site without asking that site first.
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw unsupportedType('expected content-type to be application/json')
  }
  if (encoding !== 'identity') throw unsupportedType('the body must not be compressed')
  return parse(await readBytes(req, maxBytes))
}

function unsupportedType(message: string): ApiError {
  return new ApiError(415, message, { code: 'unsupported_media_type' })
}

async function readBytes(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = Number(req.headers['content-length'] ?? 0)
  if (announced > maxBytes) throw tooLarge(maxBytes)
  const chunks: Buffer[] = []
  let length = 0
  // Node drops what still comes of a body that is left, once the answer is sent.
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError(413, `the request is longer than ${maxBytes} bytes`, {
    code: 'request_too_large',
    headers: { connection: 'close' },
  })
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new ApiError(400, 'the body is not JSON in UTF-8', { code: 'invalid_json' })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>
  }
  throw new ApiError(400, 'expected the body to be a JSON object', { code: 'invalid_json' })
}
