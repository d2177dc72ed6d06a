// Which of several continuations is the likeliest? Run: node examples/score.mjs [model]
import { OpenELM } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const context = 'The bird lived in a big'
const choices = [' tree', ' house', ' yesterday']

// The context is computed once; a score leaves the session as it was.
const session = model.createSession()
await session.append(model.tokenizer.encode(context))
const scores = []
for (const choice of choices) {
  const { logprob, tokens } = await session.score(choice)
  scores.push({ choice, perToken: logprob / tokens })
}
scores.sort((a, b) => b.perToken - a.perToken)
for (const { choice, perToken } of scores) {
  console.log(`${perToken.toFixed(2)}  ${context}${choice}`)
}

// How well each token of a text was to be expected, and what was likeliest.
const textOf = token => `'${model.tokenizer.decode([token], { continuation: true })}'`
const text = model.tokenizer.encode(context + choices[0])
for (const { token, logprob, topLogprobs } of await model.scores(text, { top: 3 })) {
  const likeliest = topLogprobs.map(({ token }) => textOf(token)).join(' ')
  console.log(`${logprob.toFixed(2)}  ${textOf(token)}  (${likeliest})`)
}

session.dispose()
await model.dispose()
