import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'

/**
 * The model of a card must say of the first CUDA kernels what an expert's own model of an H100 said of
 * them, before anything is believed that it says of today's.
 */
const expected = {
  '270M': { bfloat16: 2050, q8: 2000, q4: 2000 },
  '450M': { bfloat16: 1460, q8: 1500, q4: 1470 },
  '1.1B': { bfloat16: 770, q8: 880, q4: 910 },
  '3B': { bfloat16: 350, q8: 500, q4: 505 },
}

t.test('the model of a GPU', async t => {
  const program = join(import.meta.dirname, '..', 'bench', 'gpu-model.mjs')
  const printed = execFileSync(process.execPath, [program, '--card', 'H100'], { encoding: 'utf8' })
  for (const [size, dtypes] of Object.entries(expected)) {
    const line = printed.split('\n').find(line => line.startsWith(size))!
    for (const [dtype, perSecond] of Object.entries(dtypes)) {
      const figures = new RegExp(`${dtype} +(\\d+) +(\\d+) +(\\d+)`).exec(line)!
      const [limit, before, now] = figures.slice(1).map(Number) as [number, number, number]
      const share = before / perSecond
      t.ok(share > 0.88 && share < 1.1, `${size}, ${dtype}: ${before} for ${perSecond}`)
      t.ok(before < now && now < limit, `${size}, ${dtype}: ${now}, of at most ${limit}`)
    }
  }
})
