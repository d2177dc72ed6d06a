// Makes the prebuild of this platform. It compiles a copy of the sources, because prebuildify empties
// the build folder that it works in. Electron's rebuilder knows prebuilds by these file names.
import { cpSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import prebuildify from 'prebuildify'

const root = join(import.meta.dirname, '..')
const copy = join(root, 'build', 'prebuild')
rmSync(copy, { recursive: true, force: true })
for (const name of ['package.json', 'native']) {
  cpSync(join(root, name), join(copy, name), { recursive: true })
}
cpSync(join(root, 'native', 'binding.gyp'), join(copy, 'binding.gyp'))

const prefix = join(process.execPath, '..', '..')
if (existsSync(join(prefix, 'include', 'node', 'node_api.h'))) {
  process.env.npm_config_nodedir ??= prefix // else node-gyp downloads the headers
}
process.env.npm_config_jobs ??= 'max'
process.env.OPENELM_CUDA_ARCHITECTURES ??= 'all'

await promisify(prebuildify)({
  cwd: copy,
  out: root,
  name: 'node.napi',
  targets: [process.version],
  napi: true,
  strip: true,
  tagArmv: true,
  tagLibc: existsSync('/etc/alpine-release') && 'musl',
})
