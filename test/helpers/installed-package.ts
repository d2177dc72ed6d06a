import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addonPaths } from '../../lib/native.js'
import { compileCli, outcome } from './compiled-cli.js'

const root = join(import.meta.dirname, '..', '..')

/**
 * Puts the package, as it is installed, beside the programs of a directory, and returns what runs one of
 * them there.
 */
export function installPackage(directory: string) {
  // Else the programs would belong to this package, and `openelm` would be its own dist.
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  const installed = join(directory, 'node_modules', 'openelm')
  mkdirSync(installed, { recursive: true })
  compileCli(installed)
  const addon = process.env.OPENELM_ADDON ?? addonPaths(root).find(existsSync) ?? 'none'
  return (script: string, args: readonly string[] = []) => {
    const env = { ...process.env, NODE_OPTIONS: '', OPENELM_ADDON: addon }
    return outcome(spawn(process.execPath, [script, ...args], { cwd: directory, env }))
  }
}
