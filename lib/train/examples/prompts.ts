/** Templates that know no turns: one instruction, what it is about if anything, and what follows is the answer. */
export const prompts = {
  /** Stanford Alpaca's. */
  alpaca(instruction: string, input: string): string {
    const blocks = [input === '' ? task : taskWithInput, `### Instruction:\n${instruction}`]
    if (input !== '') blocks.push(`### Input:\n${input}`)
    return [...blocks, '### Response:\n'].join('\n\n')
  },

  /**
   * That of commonsense_170k, on which Apple tuned adapters, with the white space that CoreNet and
   * LLM-Adapters give it: lines but the first two are indented, and the first ends in one or two spaces.
   */
  commonsense(instruction: string, input: string): string {
    const blocks = [`### Instruction:\n${indent}${instruction}`]
    if (input !== '') blocks.push(`### Input:\n${indent}${input}`)
    blocks.push(`### Response:\n${indent}`)
    const first = input === '' ? `${task}  ` : `${taskWithInput} `
    return `${first}\n\n${indent}${blocks.join(`\n${indent}\n${indent}`)}`
  },

  /** Nothing but what is asked. */
  none(instruction: string, input: string): string {
    return input === '' ? instruction : `${instruction}\n${input}`
  },
}

const indent = ' '.repeat(16)
const request = 'Write a response that appropriately completes the request.'
const task = `Below is an instruction that describes a task. ${request}`
const taskWithInput =
  'Below is an instruction that describes a task, paired with an input that provides further context. ' +
  request
