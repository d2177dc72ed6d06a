// A loop of your own around session and sampler: a text without the letter "e".
// Run: node examples/custom-sampling.mjs [model]
import { OpenELM, Sampler } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const { tokenizer, config } = model
const forbidden = Array.from({ length: config.vocabSize }, (_, id) => id).filter(id =>
  /e/i.test(tokenizer.decode([id], { continuation: true })),
)

const session = model.createSession()
const sampler = new Sampler(config.vocabSize, { temperature: 0.8, minP: 0.05, seed: 1 })
const characters = tokenizer.stream({ continuation: true })

process.stdout.write('A bird')
let next = tokenizer.encode('A bird')
for (let i = 0; i < 40; i++) {
  const logits = await session.append(next)
  for (const id of forbidden) logits[id] = -Infinity
  sampler.accept(next)
  const { token } = sampler.sample(logits)
  if (tokenizer.eosTokenIds.includes(token)) break
  process.stdout.write(characters.push(token))
  next = [token]
}
console.log(characters.end())

session.dispose()
await model.dispose()
