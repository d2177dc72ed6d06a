import { readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { endSoon } from './event-stream.js'

/** The page takes scripts and styles from this server alone, none from within itself, and calls no other. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const files = {
  '/': ['index.html', 'text/html'],
  '/chat.css': ['chat.css', 'text/css'],
  '/chat.js': ['chat.js', 'text/javascript'],
} as const

/** The files of the chat page: what sends each, by its path. */
export function chatPage(): ReadonlyMap<string, (res: ServerResponse) => void> {
  const assets = Object.entries(files).map(([path, [name, type]]) => {
    // From lib and from dist, it is at one place in the package.
    const content = readFileSync(new URL(`../../lib/server/page/${name}`, import.meta.url), 'utf8')
    const headers = {
      'content-type': `${type}; charset=utf-8`,
      'content-length': Buffer.byteLength(content),
      'content-security-policy': policy,
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-cache',
    }
    const send = (res: ServerResponse) => {
      res.writeHead(200, headers)
      endSoon(res, content)
    }
    return [path, send] as const
  })
  return new Map(assets)
}
