import { stripStart } from '../python-text.js'
import type { Task } from '../task.js'

export const sciq: Task = {
  name: 'sciq',
  version: 1,
  data: { repository: 'allenai/sciq' },
  split: 'test',
  numDocuments: 1000,
  fewShot: { split: 'train', choice: 'drawn' },
  delimiter: ' ',
  metrics: ['acc', 'acc_norm'],
  question: row => ({
    contexts: [`${stripStart(row.text('support'))}\nQuestion: ${row.text('question')}\nAnswer:`],
    continuations: ['distractor1', 'distractor2', 'distractor3', 'correct_answer'].map(column =>
      row.text(column),
    ),
    gold: 3,
  }),
}
