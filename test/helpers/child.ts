import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'
import { addonPaths } from '../../lib/native.js'

export interface ChildOptions {
  /** For node. */
  flags?: string[]
  /** The most bytes of addresses that the process may have. Not on Windows. */
  addressSpace?: number
}

export interface ChildOutcome<Result> {
  /** What the function returned, if the process ended well. */
  result: Result
  /** How it ended: 0 for one that ended by itself, the name of a signal for one that crashed. */
  exit: number | string
  stderr: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const inChild = join('test', 'helpers', 'in-child.ts')
const timeout = 150_000

/**
 * Compiles the library into `directory` and returns a function that runs others in a process of their
 * own, which has no compiler in its memory or in its start. What it runs travels as text, with its
 * arguments as JSON: it sees nothing of the file it is written in.
 */
export function childRunner(directory: string) {
  const libraryFiles = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  const sources = libraryFiles.filter(name => name.endsWith('.ts')).map(name => join('lib', name))
  for (const source of [...sources, inChild]) compile(source, directory)
  symlinkSync(join(root, 'models'), join(directory, 'models'), 'junction')
  const library = pathToFileURL(join(directory, inChild.replace(/ts$/, 'js'))).href

  return async function runInChild<Args extends unknown[], Result>(
    body: (library: typeof import('./in-child.js'), ...args: Args) => Result | Promise<Result>,
    args: Args,
    { flags = [], addressSpace }: ChildOptions = {},
  ): Promise<ChildOutcome<Result>> {
    const script = `
      import * as library from '${library}'
      const result = await (${body})(library, ...${JSON.stringify(args)})
      console.log(JSON.stringify(result) ?? 'null')`
    const node = [process.execPath, ...flags, '--input-type=module', '--eval', script]
    const [command, ...rest] = addressSpace === undefined ? node : limited(addressSpace, node)
    const addon = process.env.OPENELM_ADDON || addonPaths(root).find(existsSync)
    const child = spawn(command!, rest, {
      env: { ...process.env, OPENELM_ADDON: addon },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout,
      killSignal: 'SIGKILL',
    })
    const [stdout, stderr, [code, signal]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    return { result: stdout && JSON.parse(stdout), exit: code ?? signal, stderr }
  }
}

function compile(name: string, directory: string): void {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  const source = readFileSync(join(root, name), 'utf8')
  const file = join(directory, name.replace(/ts$/, 'js'))
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, ts.transpileModule(source, { compilerOptions }).outputText)
}

function limited(addressSpace: number, command: string[]): string[] {
  const kibibytes = Math.floor(addressSpace / 1024)
  return ['sh', '-c', `ulimit -v ${kibibytes} && exec "$0" "$@"`, ...command]
}
