import type { Task } from '../task.js'

/** Of SuperGLUE, whose passages begin with their title; those of google/boolq do not. */
export const boolq: Task = {
  name: 'boolq',
  version: 2,
  data: { repository: 'aps/super_glue', config: 'boolq' },
  split: 'validation',
  numDocuments: 3270,
  fewShot: { split: 'train', choice: 'drawn', drawsOneMore: true },
  delimiter: ' ',
  metrics: ['acc'],
  question: row => ({
    contexts: [`${row.text('passage')}\nQuestion: ${row.text('question')}?\nAnswer:`],
    continuations: ['no', 'yes'],
    gold: row.integer('label', 0, 1),
  }),
}
