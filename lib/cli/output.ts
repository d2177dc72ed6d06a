/**
 * Writes text that came from a model or a checkpoint. A terminal obeys control characters, which could
 * rewrite the screen or fill the clipboard, so it gets a sign for each instead.
 */
export function print(text: string): void {
  process.stdout.write(process.stdout.isTTY ? withoutControls(text) : text)
}

/** Writes a message for the user as one line on standard error. */
export function note(message: string): void {
  process.stderr.write(noteLine(message))
}

export function noteLine(message: string): string {
  return `openelm: ${withoutControls(message.trim().replace(/\s*\n\s*/g, ' '))}\n`
}

function withoutControls(text: string): string {
  return text.replace(/(?![\n\t])\p{Cc}/gu, '\ufffd')
}
