// The checkpoints that are measured: random weights of the released shapes, and the same as GGUF.
import { execFileSync } from 'node:child_process'
import { createReadStream, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { presets } from '../dist/config.js'

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

export const dtypes = ['bf16', 'q8', 'q4']

/** Makes what is not there yet; 1.1B takes 8 GB in all three dtypes. */
export function prepareModel(folder, size, dtype) {
  const config = presets[size]
  const bf16 = join(folder, `${size}-bf16`)
  const directory = join(folder, `${size}-${dtype}`)
  const file = `${directory}.gguf`
  if (!existsSync(join(bf16, 'config.json'))) run('init', '--preset', size, bf16)
  if (!existsSync(join(directory, 'config.json')))
    run('quantize', '--dtype', dtype, bf16, directory)
  if (!existsSync(file)) run('convert', directory, file)
  return { size, dtype, directory, file, vocabSize: config.vocabSize }
}

/** A model of the user's, as GGUF beside the others. */
export function prepareGguf(folder, name, directory, ...options) {
  const file = join(folder, `${name}.gguf`)
  if (!existsSync(file)) run('convert', directory, file, ...options)
  return file
}

/** Reads what an engine will load, so that it comes from the page cache. */
export async function readThrough({ directory, file }, engine) {
  const shards = readdirSync(directory).filter(name => name.endsWith('.safetensors'))
  const files = engine === 'openelm' ? shards.map(name => join(directory, name)) : [file]
  for (const path of files) for await (const _ of createReadStream(path, chunks));
}

const chunks = { highWaterMark: 2 ** 24 }

/** Runs the command line of the package. */
export function run(...args) {
  process.stderr.write(`openelm ${args.join(' ')}\n`)
  execFileSync(process.execPath, [cli, ...args], { stdio: 'inherit' })
}
