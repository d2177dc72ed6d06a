import type { Task } from '../task.js'

export const piqa: Task = {
  name: 'piqa',
  version: 1,
  data: { repository: 'baber/piqa', filePrefix: 'piqa_' },
  split: 'validation',
  numDocuments: 1838,
  fewShot: { split: 'train', choice: 'drawn', drawsOneMore: true },
  delimiter: ' ',
  metrics: ['acc', 'acc_norm'],
  question: row => ({
    contexts: [`Question: ${row.text('goal')}\nAnswer:`],
    continuations: [row.text('sol1'), row.text('sol2')],
    gold: row.integer('label', 0, 1),
  }),
}
