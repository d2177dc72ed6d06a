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

/** What the kernels were rewritten for. */
const targets: Record<keyof typeof expected, Record<string, number>> = {
  '270M': { bfloat16: 3050, q4: 5100 },
  '450M': { bfloat16: 2050, q4: 3800 },
  '1.1B': { bfloat16: 1010, q4: 2200 },
  '3B': { bfloat16: 413, q4: 1100 },
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
      const least = targets[size as keyof typeof targets][dtype]
      t.ok(least === undefined || now >= least, `${size}, ${dtype}: ${now}, of at least ${least}`)
    }
  }
})

const dtypes = ['bfloat16', 'q8', 'q4', 'float16', 'float32']
const launches = model('--launches').filter(line => line.startsWith('270M ') && line.includes(':'))

/** The model divides matrices as matvec.cu does, and the emulator counts what its launches load. */
const step = join(root, 'build', 'emulated', 'test', 'emulator', 'cuda_step_test')
const skip = !existsSync(step) && 'there is no build/emulated: npm run build:emulated'
const multiprocessors = 132
/** Of a multiprocessor, with 128 registers a lane. */
const mostWarps = 16

t.test('what a step of 270M launches', { skip }, async t => {
  for (const dtype of dtypes) {
    const printed = execFileSync(step, ['270M', dtype, '--launches'], { encoding: 'utf8' })
    const all = [...printed.matchAll(/^launch (\d+) (\d+) (\d+) (\d+)$/gm)].map(line => {
      const [blocks, warps, loaded, early] = line.slice(1).map(Number)
      return { blocks: blocks!, warps: warps!, loaded: loaded!, early: early! }
    })
    // The embedding comes first and the draw last; attention is the second of a layer's five.
    const found = all.slice(1, -1).filter((_, i) => i % 5 !== 1)
    t.equal(found.length, 16 * 4 + 1, dtype)
    for (const [i, { blocks, warps, loaded, early }] of found.entries()) {
      const resident = Math.min(Math.floor(mostWarps / warps), blocks / multiprocessors)
      const underWay = (resident * early) / blocks
      const needed = Math.min(40 * 1024, (0.999 * loaded) / multiprocessors)
      t.ok(underWay >= needed, `${dtype}, product ${i}: ${underWay} bytes under way, of ${needed}`)
    }
    const modelled = launches.filter(line => line.startsWith(`270M ${dtype} `))
    const expected = modelled.map(line => {
      const [blocks, warps, early] = /(\d+) blocks of (\d+) warps, (\d+) bytes/
        .exec(line)!
        .slice(1)
        .map(Number)
      return { blocks, warps, early }
    })
    if (expected.length === 0) continue
    t.same(
      found.map(({ blocks, warps, early }) => ({ blocks, warps, early })),
      expected,
      dtype,
    )
  }
})
