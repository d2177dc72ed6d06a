import { strip } from '../python-text.js'
import type { Task } from '../task.js'

/** Which of two words fits in a gap: how likely the rest of the sentence is after each. */
export const winogrande: Task = {
  name: 'winogrande',
  version: 1,
  data: { repository: 'allenai/winogrande', config: 'winogrande_xl' },
  split: 'validation',
  numDocuments: 1267,
  fewShot: { split: 'train', choice: 'drawn', drawsOneMore: true },
  delimiter: ' ',
  metrics: ['acc'],
  question(row) {
    const sentence = row.text('sentence')
    const gap = sentence.indexOf('_')
    if (gap < 0) row.fail('sentence', 'a text with an underscore', sentence)
    const before = sentence.slice(0, gap)
    const rest = strip(sentence.slice(gap + 1))
    return {
      contexts: [before + row.text('option1'), before + row.text('option2')],
      continuations: [rest, rest],
      gold: row.integer('answer', 1, 2) - 1,
    }
  },
}
