import { countNamed } from './questions.mjs'

const atATime = 32

/**
 * What a model answers, each question with the seed it has.
 *
 * @param {import('../../dist/index.js').OpenELM} model
 * @param {readonly { content: string, seed: number }[]} questions
 * @returns {Promise<{ text: string, isEnded: boolean }[]>}
 */
export async function askAll(model, questions) {
  const answers = []
  let next = 0
  async function work() {
    while (next < questions.length) {
      const index = next++
      answers[index] = await ask(model, questions[index])
    }
  }
  await Promise.all(Array.from({ length: atATime }, work))
  return answers
}

async function ask(model, { content, seed }) {
  const prompt = [{ role: 'user', content }]
  const options = { temperature: 0.8, minP: 0.05, seed, maxTokens: 300 }
  const { text, finishReason } = await model.generate(prompt, options)
  return { text, isEnded: finishReason === 'stop' }
}

/** Whether a story names all things. */
export function isComplete(story, things) {
  return things.every(thing => countNamed(story, thing) > 0)
}
