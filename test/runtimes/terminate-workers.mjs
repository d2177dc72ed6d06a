// Terminates workers at random moments of their life: `<runtime> terminate-workers.mjs <package> <model> <rounds>`,
// with the package's entry and a model's directory. Says how many there were; a crash says nothing.
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const longestLife = 120 // ms: from before the addon is loaded to the middle of everything below

if (isMainThread) {
  const [library, model, rounds] = process.argv.slice(2)
  for (let round = 0; round < rounds; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { library, model } })
    worker.on('error', error => {
      console.error(error)
      process.exit(1)
    })
    await setTimeout(Math.random() * longestLife)
    await worker.terminate()
  }
  console.log(`${rounds} terminated`)
} else {
  const { OpenELM } = await import(pathToFileURL(workerData.library).href)
  const forEver = async call => {
    for (;;) await call()
  }
  const load = () => OpenELM.load(workerData.model, { onProgress: () => {} })
  const model = await load()
  const prompt = Array.from({ length: 150 }, (_, i) => i)
  await Promise.all([
    forEver(() => model.generate(prompt, { maxTokens: 50, ignoreEos: true, logprobs: 3 })),
    forEver(() => model.generate([5], { maxTokens: 200, ignoreEos: true, temperature: 1 })),
    forEver(() => model.score(prompt, [1, 2, 3])),
    forEver(() => model.createSession().append(prompt)),
    forEver(async () => (await load()).dispose()),
  ])
}
