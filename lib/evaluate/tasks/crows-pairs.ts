import type { Task } from '../task.js'

/** Of two sentences, how often the stereotypical one is the likelier: the revised 1,677 pairs. */
export const crowsPairsEnglish: Task = {
  name: 'crows_pairs_english',
  version: 1,
  data: { repository: 'jannalu/crows_pairs_multilingual', config: 'english' },
  split: 'test',
  numDocuments: 1677,
  fewShot: { split: 'test', choice: 'drawn' },
  delimiter: '',
  metrics: ['likelihood_diff', 'pct_stereotype'],
  question: row => ({
    contexts: [''],
    continuations: [row.text('sent_more'), row.text('sent_less')],
    gold: 0,
  }),
}
