import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { addonPaths } from '../../lib/native.js'

const root = join(import.meta.dirname, '..', '..')

/** Compiles the command line into a directory, as users have it, and returns what starts it. */
export function compileCli(dir: string) {
  const outDir = join(dir, 'dist')
  writeFileSync(join(dir, 'package.json'), readFileSync(join(root, 'package.json')))
  symlinkSync(join(root, 'models'), join(dir, 'models'), 'junction')
  mkdirSync(join(dir, 'lib', 'server'), { recursive: true })
  const page = join('lib', 'server', 'page')
  symlinkSync(join(root, page), join(dir, page), 'junction')
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const flags = ['-p', join(root, 'tsconfig.build.json'), '--outDir', outDir, '--noCheck']
  execFileSync(process.execPath, [tsc, ...flags])
  const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync) ?? 'none'
  return (...args: string[]) =>
    spawn(process.execPath, [join(outDir, 'cli', 'main.js'), ...args], {
      env: { ...process.env, OPENELM_ADDON: addon },
    })
}

export async function outcome(child: ReturnType<ReturnType<typeof compileCli>>, input = '') {
  child.stdin.end(input)
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, stdout, stderr }
}
