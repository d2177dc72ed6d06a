import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type EvaluationResults, evaluate, formatReport } from '../../lib/evaluate/index.js'
import { tasks } from '../../lib/evaluate/tasks.js'
import { OpenELM } from '../../lib/model.js'

const shared = join(import.meta.dirname, '../../../shared')
const madeUp = join(import.meta.dirname, 'data/documents')
const real = join(shared, 'data/evaluation')
const stories = join(shared, 'models/stories260K')

async function resultsOf(model: OpenELM, task: string, data: string): Promise<EvaluationResults> {
  const evaluation = evaluate(model, { tasks: [task], data, limit: 3 })
  for (;;) {
    const { done, value } = await evaluation.next()
    if (done) return value
  }
}

for (const source of ['openelm-nano', stories]) {
  const skip = source === stories && !existsSync(stories) && 'needs ../shared'
  t.test(`every task of which there are documents runs: ${source}`, { skip }, async t => {
    await using model = await OpenELM.load(source, { backend: 'cpu' })
    const names = new Set<string>()
    for (const { name } of tasks) {
      for (const data of [real, madeUp]) {
        const results = await resultsOf(model, name, data).catch(({ code }) => {
          t.match(code, /IO_ERROR|INVALID_DATA/) // no documents of it
        })
        const [report] = results?.reports ?? []
        if (!report) continue
        names.add(name)
        const { chance, results: entries } = report
        t.ok(chance[name]! >= 0.2 && chance[name]! <= 0.8, `${name}: ${chance[name]}`)
        const values = Object.values(entries[name]!).filter(value => typeof value === 'number')
        t.ok(values.length > 0 && values.every(Number.isFinite))
        if (!name.startsWith('mmlu_')) t.comment(formatReport(report).split('\n')[2])
      }
    }
    const missing = tasks.filter(({ name }) => !names.has(name)).map(({ name }) => name)
    const expected = existsSync(real)
      ? missing.every(name => name.startsWith('llm_adapters_'))
      : names.size > 10
    t.ok(expected, `none of ${missing.join(', ')}`)
  })
}
