import { readFileSync, writeFileSync } from 'node:fs'

/** The objects of a .jsonl file. */
export function readRows(file) {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.map(line => JSON.parse(line))
}

/** Writes objects as the lines of a file. */
export function writeRows(file, rows) {
  writeFileSync(file, rows.map(row => `${JSON.stringify(row)}\n`).join(''))
}

/** Whether a story is neither very short nor says the same words again and again. */
export function isWorthReading({ text }) {
  const words = text.toLowerCase().match(/[a-z']+/g) ?? []
  return text.length >= 150 && new Set(words).size >= 0.35 * words.length
}
