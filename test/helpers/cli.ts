import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { addonPaths } from '../../lib/native.js'
import { compileCli, outcome } from './compiled-cli.js'

export const root = join(import.meta.dirname, '..', '..')
export const tinyConfig = join(root, 'examples', 'tiny.json')
export const main = join(compiled(), 'dist', 'cli', 'main.js')
export const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync) ?? 'none'

/** Where the command line is compiled, as users have it: once for all files of tests that run it. */
function compiled(): string {
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).sort()
  const stamps = sources.map(name => [name, statSync(join(root, 'lib', name)).mtimeMs])
  const hash = createHash('sha256').update(JSON.stringify(stamps)).digest('hex').slice(0, 16)
  const dir = join(root, '.tap', 'cli', hash)
  if (existsSync(dir)) return dir
  const temporary = `${dir}.${randomUUID()}`
  mkdirSync(temporary, { recursive: true })
  compileCli(temporary)
  try {
    renameSync(temporary, dir)
  } catch {
    rmSync(temporary, { recursive: true }) // another process was faster
  }
  return dir
}

export function start(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return spawn(process.execPath, [main, ...args], {
    env: { ...process.env, OPENELM_ADDON: addon, ...env },
  })
}

export function run(...args: string[]) {
  return outcome(start(args))
}

/** Runs a command with text on its standard input. */
export function pipe(input: string, ...args: string[]) {
  return outcome(start(args), input)
}

/** Runs a command that must have nothing to complain about. */
export async function succeed(t: Test, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args)
  t.same({ code, stderr }, { code: 0, stderr: '' }, args.join(' '))
  return stdout
}

/** Writes a small model with LLaMA's vocabulary. */
export async function initTiny(t: Test): Promise<string> {
  const tiny = join(t.testdir(), 'tiny')
  await succeed(t, 'init', '--config', tinyConfig, tiny)
  return tiny
}

export async function generateJson(t: Test, model: string, ...args: string[]) {
  return JSON.parse(await succeed(t, 'generate', '-m', model, '--json', ...args))
}

/** Runs the command line in a terminal. */
export function startInTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const line = [process.execPath, main, ...args].map(word => `'${word}'`).join(' ')
  return spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...process.env, OPENELM_ADDON: addon, ...env },
  })
}

export const needsScript = process.platform !== 'linux' && 'it needs the command script of Linux'
