import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { is, type Kernel, mainLoop, operations, readKernels } from './helpers/machine-code.js'

/**
 * What NVIDIA's compiler makes of the kernels: where it leaves the first loads of weights, how many
 * instructions the main loops take, and that no register is spilled. What has been compiled stays in
 * build/ until a source changes.
 */
const root = join(import.meta.dirname, '..')
const sources = join(root, 'native', 'cuda')
const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find(
  command => spawnSync(command, ['--version']).status === 0,
)
const architectures = ['sm_90', 'sm_120'] as const
type Architecture = (typeof architectures)[number]
const formats = {
  float32: 'Float32Format',
  float16: 'Float16FormatI6__half',
  bfloat16: 'Float16FormatI13__nv_bfloat16',
  q8: 'Q8Format',
  q4: 'Q4Format',
}

interface Compiled {
  kernels: Kernel[]
  /** What the assembler says of each kernel, by its symbol. */
  resources: Map<string, { registers: number; spilledBytes: number }>
}

function hashOfSources(): string {
  const hash = createHash('sha256').update(execFileSync(nvcc!, ['--version']))
  for (const name of readdirSync(sources).sort()) {
    if (/\.(cu|cuh|h|txt)$/.test(name)) hash.update(name).update(readFileSync(join(sources, name)))
  }
  return hash.digest('hex')
}

const folder = join(root, 'build', 'machine-code')

/** An empty folder unless it has what is compiled from these sources. */
function prepareFolder(): void {
  const stamp = join(folder, 'sources.sha256')
  const hash = hashOfSources()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(stamp, hash)
}

function compile(name: string, architecture: Architecture): Compiled {
  const cubin = join(folder, `${name}.${architecture}.cubin`)
  const log = `${cubin}.log`
  if (!existsSync(log)) {
    const flags = ['--options-file', join(sources, 'nvcc_flags.txt'), `-arch=${architecture}`]
    const source = join(sources, `${name}.cu`)
    const result = spawnSync(nvcc!, [...flags, '-Xptxas=-v', '-cubin', source, '-o', cubin], {
      encoding: 'utf8',
    })
    if (result.status !== 0) throw new Error(result.stderr)
    writeFileSync(log, result.stderr)
  }
  const resources = new Map(
    readFileSync(log, 'utf8')
      .split('Compiling entry function ')
      .slice(1)
      .map(text => [
        /'(\w+)'/.exec(text)![1]!,
        {
          registers: Number(/Used (\d+) registers/.exec(text)![1]),
          spilledBytes: Number(/(\d+) bytes spill stores/.exec(text)![1]),
        },
      ]),
  )
  return { kernels: readKernels(cubin), resources }
}

function indicesOf({ instructions }: Kernel, ...kinds: number[][]): number[] {
  return instructions.flatMap((instruction, i) => (is(instruction, ...kinds) ? [i] : []))
}

/** Its name and those of its template's arguments. */
function shortName(symbol: string): string {
  const [, name, rest] = /\d([a-z_0-9]+_kernel)(.*)/.exec(symbol) ?? []
  const format = Object.entries(formats).find(([, text]) => rest?.includes(text))?.[0]
  return format ? `${name} of ${format}` : (name ?? symbol)
}

function find(kernels: Kernel[], name: string, format: string): Kernel {
  const kernel = kernels.find(
    ({ symbol }) => symbol.includes(`${name}_kernel`) && symbol.includes(format),
  )
  if (!kernel) throw new Error(`there is no ${name} of ${format}`)
  return kernel
}

function checkAll(t: Test, { kernels, resources }: Compiled): void {
  t.ok(kernels.length > 0)
  for (const kernel of kernels) {
    const name = shortName(kernel.symbol)
    const { registers, spilledBytes } = resources.get(kernel.symbol)!
    const local = indicesOf(kernel, operations.loadLocal, operations.storeLocal)
    t.same({ spilledBytes, local: local.length }, { spilledBytes: 0, local: 0 }, `${name}: spills`)
    const waits = indicesOf(kernel, operations.waitForPreviousKernel)
    t.equal(waits.length, 1, `${name}: waits once`)
    const stores = indicesOf(kernel, operations.storeGlobal, operations.exit)
    t.ok(Math.min(...stores) > waits[0]!, `${name}: neither stores nor ends before it has waited`)
    t.comment(`${name}: ${registers} registers, ${kernel.instructions.length} instructions`)
  }
}

// Loads of weights that are under way while a kernel waits: all that its registers hold. And the
// instructions of a main loop, which multiplies this many weights a lane.
const matvecs = {
  float32: { loads: 12, weights: 48, instructions: { sm_90: 165, sm_120: 165 } },
  float16: { loads: 10, weights: 80, instructions: { sm_90: 285, sm_120: 265 } },
  bfloat16: { loads: 10, weights: 80, instructions: { sm_90: 285, sm_120: 265 } },
  q8: { loads: 9, weights: 144, instructions: { sm_90: 680, sm_120: 765 } },
  q4: { loads: 6, weights: 192, instructions: { sm_90: 640, sm_120: 670 } },
}

function checkMatvec(t: Test, { kernels, resources }: Compiled, architecture: Architecture): void {
  for (const [dtype, expected] of Object.entries(matvecs)) {
    const kernel = find(kernels, 'matvec', formats[dtype as keyof typeof formats])
    const [wait] = indicesOf(kernel, operations.waitForPreviousKernel)
    const early = indicesOf(kernel, operations.loadGlobal).filter(i => i < wait!)
    const wide = early.filter(i => kernel.instructions[i]!.width === 16)
    t.equal(wide.length, expected.loads, `${dtype}: loads of weights before the wait, at ${wait}`)
    const loop = mainLoop(kernel, operations.multiplyAdd)
    const products = loop.filter(one => is(one, operations.multiplyAdd)).length
    t.ok(products >= expected.weights, `${dtype}: the main loop has ${products} products`)
    const most = expected.instructions[architecture]
    t.ok(loop.length <= most, `${dtype}: the main loop has ${loop.length} of ${most} instructions`)
    // So that the blocks of two kernels find room on a multiprocessor.
    t.ok(resources.get(kernel.symbol)!.registers <= 128, `${dtype}: registers`)
  }
}

// The first keys and values of a split, under way before attention waits for its queries.
function checkAttention(t: Test, { kernels }: Compiled): void {
  t.equal(kernels.length, 8)
  for (const kernel of kernels) {
    const [wait] = indicesOf(kernel, operations.waitForPreviousKernel)
    const early = indicesOf(kernel, operations.loadGlobal).filter(i => i < wait!)
    const wide = early.filter(i => kernel.instructions[i]!.width === 16)
    t.equal(wide.length, 8, `${shortName(kernel.symbol)}: loads before the wait`)
  }
}

// The main loops of the largest tiles.
const matmuls = {
  Tile16: { sm_90: 104, sm_120: 161 },
  TileQ8: { sm_90: 231, sm_120: 252 },
  TileQ4: { sm_90: 225, sm_120: 253 },
}

function checkMatmul(t: Test, { kernels, resources }: Compiled, architecture: Architecture): void {
  for (const [tile, most] of Object.entries(matmuls)) {
    const largest = kernels.filter(
      ({ symbol }) => symbol.includes(tile) && symbol.includes('ShapeILi128ELi128E'),
    )
    t.equal(largest.length, tile === 'Tile16' ? 2 : 1, tile)
    for (const kernel of largest) {
      const loop = mainLoop(kernel, operations.multiplyMatrices)
      const products = loop.filter(one => is(one, operations.multiplyMatrices)).length
      t.equal(products, 32, `${tile}: products of the main loop`)
      const budget = most[architecture]
      t.ok(loop.length <= budget, `${tile}: the main loop has ${loop.length} of ${budget}`)
      // Two blocks of 256 threads find room on a multiprocessor.
      t.ok(resources.get(kernel.symbol)!.registers <= 128, `${tile}: registers`)
    }
  }
}

const skip = !nvcc && 'there is no nvcc'

t.test('the machine code of the CUDA kernels', { skip }, async t => {
  prepareFolder()
  const names = readdirSync(sources).flatMap(name => /^(\w+)\.cu$/.exec(name)?.[1] ?? [])
  for (const architecture of architectures) {
    for (const name of names) {
      await t.test(`${name}, ${architecture}`, async t => {
        const compiled = compile(name, architecture)
        checkAll(t, compiled)
        if (name === 'matvec') checkMatvec(t, compiled, architecture)
        if (name === 'attention') checkAttention(t, compiled)
        if (name === 'matmul') checkMatmul(t, compiled, architecture)
      })
    }
  }
})
