import type { Interface, Key } from 'node:readline'
import { canDrawBars } from './progress.js'

/** Asks a terminal to mark pastes, which readline reports as the keys `paste-start` and `paste-end`. */
const markPastes = '\x1b[?2004h'
const markNoPastes = '\x1b[?2004l'

/**
 * Makes an interface emit `message` with each line, and with all lines up to Enter where several are
 * pasted into a terminal at once.
 */
export function joinPastedLines(lines: Interface): void {
  let isPasting = false
  let pasted: string[] = []
  lines.on('line', line => {
    pasted.push(line)
    if (isPasting) return
    lines.emit('message', pasted.join('\n'))
    pasted = []
  })
  if (!lines.terminal || !canDrawBars) return
  process.stdin.on('keypress', (_, { name }: Key) => {
    if (name === 'paste-start') isPasting = true
    if (name === 'paste-end') isPasting = false
  })
  process.stdout.write(markPastes)
  lines.once('close', () => process.stdout.write(markNoPastes))
}
