import type { Row } from '../row.js'
import type { Task } from '../task.js'

export const arcEasy = arc('arc_easy', 'ARC-Easy', 2376)
export const arcChallenge = arc('arc_challenge', 'ARC-Challenge', 1172)

function arc(name: string, config: string, numDocuments: number): Task {
  return {
    name,
    version: 1,
    data: { repository: 'allenai/ai2_arc', config },
    split: 'test',
    numDocuments,
    fewShot: { split: 'train', choice: 'drawn' },
    delimiter: ' ',
    metrics: ['acc', 'acc_norm'],
    question,
  }
}

/** Labels are letters or digits, and there may be three or five choices. */
function question(row: Row) {
  const choices = row.row('choices')
  const continuations = choices.texts('text', 1, 26)
  const labels = choices.texts('label', continuations.length)
  const gold = labels.indexOf(row.text('answerKey'))
  if (gold < 0) row.fail('answerKey', `one of ${labels.join(', ')}`, row.values.answerKey)
  return { contexts: [`Question: ${row.text('question')}\nAnswer:`], continuations, gold }
}
