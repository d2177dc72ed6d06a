import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..')
const model = (...args: string[]) =>
  execFileSync(
    process.execPath,
    [join(root, 'bench', 'gpu-model.mjs'), '--card', 'H100', ...args],
    {
      encoding: 'utf8',
    },
  ).split('\n')

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
  const printed = model()
  for (const [size, dtypes] of Object.entries(expected)) {
    const line = printed.find(line => line.startsWith(size))!
    for (const [dtype, perSecond] of Object.entries(dtypes)) {
      const figures = new RegExp(`${dtype} +(\\d+) +(\\d+) +(\\d+)`).exec(line)!
      const [limit, before, now] = figures.slice(1).map(Number) as [number, number, number]
      const share = before / perSecond
      t.ok(share > 0.87 && share < 1.1, `${size}, ${dtype}: ${before} for ${perSecond}`)
      t.ok(before < now && now < limit, `${size}, ${dtype}: ${now}, of at most ${limit}`)
    }
  }
})

interface Launch {
  blocks: number
  warps: number
  early: number
}

const dtypes = ['bfloat16', 'q8', 'q4']
const launches = model('--launches').filter(line => line.startsWith('270M ') && line.includes(':'))

t.test('what is under way while a kernel waits', async t => {
  for (const line of launches) {
    const [underWay, share] = /([\d.]+) of ([\d.]+) KB/.exec(line)!.slice(1).map(Number)
    t.ok(underWay! >= Math.min(38, share! - 0.1), line)
  }
})

/** The model divides matrices as matvec.cu does, and the emulator counts what its launches load. */
const step = join(root, 'build', 'emulated', 'test', 'emulator', 'cuda_step_test')
const skip = !existsSync(step) && 'there is no build/emulated: npm run build:emulated'

t.test('what a step of 270M launches', { skip }, async t => {
  for (const dtype of dtypes) {
    const expected = launches
      .filter(line => line.startsWith(`270M ${dtype} `))
      .map((line): Launch => {
        const [, blocks, warps, early] = /(\d+) blocks of (\d+) warps, (\d+) bytes/.exec(line)!
        return { blocks: Number(blocks), warps: Number(warps), early: Number(early) }
      })
    const printed = execFileSync(step, ['270M', dtype, '--launches'], { encoding: 'utf8' })
    const all = [...printed.matchAll(/^launch (\d+) (\d+) (\d+)$/gm)].map(
      ([, blocks, warps, early]): Launch => ({
        blocks: Number(blocks),
        warps: Number(warps),
        early: Number(early),
      }),
    )
    // The embedding comes first and the draw last; attention is the second of a layer's five.
    const found = all.slice(1, -1).filter((_, i) => i % 5 !== 1)
    t.same(found, expected, dtype)
  }
})
