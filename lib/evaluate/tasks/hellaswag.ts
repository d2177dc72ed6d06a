import { capitalize, strip } from '../python-text.js'
import type { Task } from '../task.js'

export const hellaswag: Task = {
  name: 'hellaswag',
  version: 1,
  data: { repository: 'Rowan/hellaswag' },
  split: 'validation',
  numDocuments: 10042,
  fewShot: { split: 'train', choice: 'drawn', drawsOneMore: true },
  delimiter: ' ',
  metrics: ['acc', 'acc_norm'],
  question(row) {
    const context = `${row.text('ctx_a')} ${capitalize(row.text('ctx_b'))}`
    return {
      contexts: [clean(`${row.text('activity_label')}: ${context}`)],
      continuations: row.texts('endings', 4).map(clean),
      gold: row.integer('label', 0, 3),
    }
  },
}

/**
 * Takes the marks of WikiHow out. An ending that begins with one keeps the space after it, as in the
 * harness.
 */
function clean(text: string): string {
  return strip(text)
    .replaceAll(' [title]', '. ')
    .replace(/\[[^\n]*?\]/g, '')
    .replaceAll('  ', ' ')
}
