// Several continuations of one text, which is computed once. Run: node examples/sessions.mjs [model]
import { OpenELM } from 'openelm'

const model = await OpenELM.load(process.argv[2] ?? 'openelm-nano')
const opening = 'One day, a little girl found a box, which'

const session = model.createSession()
await session.append(model.tokenizer.encode(opening))

// Each fork has the opening in its cache. Sessions that generate at the same time share passes.
const forks = [1, 2, 3].map(() => session.fork())
const results = await Promise.all(
  forks.map((fork, seed) => fork.generate('', { maxTokens: 15, temperature: 0.9, seed })),
)
for (const [i, { text }] of results.entries()) console.log(`${i + 1}: ${opening}${text}`)

// A session also goes back, and on from there.
const [first] = forks
const { position } = first
const { text } = await first.generate(' "What is this?" she asked,', { maxTokens: 15 })
console.log(`4: ... "What is this?" she asked,${text}`)
first.rewind(position)
const other = await first.generate(' She did not know what', { maxTokens: 15 })
console.log(`5: ... She did not know what${other.text}`)

for (const used of [session, ...forks]) used.dispose()
await model.dispose()
