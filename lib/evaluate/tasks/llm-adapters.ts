import type { Row } from '../row.js'
import type { Task } from '../task.js'

/** The test files of the commonsense tasks of LLM-Adapters, and how many questions each has. */
const sizes = {
  boolq: 3270,
  piqa: 1838,
  social_i_qa: 1954,
  hellaswag: 10042,
  winogrande: 1267,
  'ARC-Easy': 2376,
  'ARC-Challenge': 1172,
  openbookqa: 500,
}
const indent = ' '.repeat(16)
const preamble =
  'Below is an instruction that describes a task. ' +
  'Write a response that appropriately completes the request.  '
const listedAnswers = /Answer format: .*?(answer|ending|option|solution)(\d)$/

/** By which OpenELM's fine-tuned models were compared; scored by likelihood, as CoreNet does. */
export const llmAdapters: readonly Task[] = Object.entries(sizes).map(([config, numDocuments]) => ({
  name: `llm_adapters_${config.toLowerCase().replaceAll('-', '_')}`,
  version: 1,
  data: { repository: 'AGI-Edgerunners/LLM-Adapters', host: 'GitHub', config },
  split: 'test',
  numDocuments,
  delimiter: '',
  metrics: ['acc', 'acc_norm'],
  shuffleSeed: 83652,
  question,
}))

function question(row: Row) {
  const instruction = row.text('instruction')
  const answers = answersOf(instruction)
  if (!answers) row.fail('instruction', 'a text that ends in the format of answers', instruction)
  const gold = answers.indexOf(row.text('answer'))
  if (gold < 0) row.fail('answer', `one of ${answers.join(', ')}`, row.values.answer)
  const lines = ['### Instruction:', instruction, '', '### Response:', '']
  return {
    contexts: [`${preamble}\n\n${lines.map(line => indent + line).join('\n')}`],
    continuations: answers.map(answer => `the correct answer is ${answer}`),
    gold,
  }
}

/** The answers that the last line offers. */
function answersOf(instruction: string): string[] | undefined {
  const line = instruction.slice(instruction.lastIndexOf('\n') + 1)
  if (line.includes('Answer format: true/false')) return ['true', 'false']
  const [, word, count] = listedAnswers.exec(line) ?? []
  return word === undefined
    ? undefined
    : Array.from({ length: Number(count) }, (_, i) => `${word}${i + 1}`)
}
