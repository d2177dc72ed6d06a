// Makes an npm package of each addon in `prebuilds`, in the folder build/packages, and has package.json name
// them instead of shipping `prebuilds`: an installation then has the addon of its own platform only. Only a
// release does this, behind scripts/stamp-release.mjs, whose address of the repository all of them carry.
//   node scripts/platform-packages.mjs
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { targets } from './zig/targets.mjs'

const packageName = ({ name }) => `openelm-${name}`

/** The package.json of the package for a target of targets.mjs. */
export function platformManifest(manifest, target) {
  const { version, license, author, repository } = manifest
  const { name, os, arch, file } = target
  const libc = name.endsWith('-musl') ? 'musl' : 'glibc'
  return {
    name: packageName(target),
    version,
    description: `The native addon of openelm for ${name}`,
    author,
    license,
    ...(repository && { repository }),
    os: [os],
    cpu: [arch],
    ...(os === 'linux' && { libc: [libc] }),
    files: [basename(file)],
  }
}

/** A package.json that has the addons from packages of their own. */
export function withPlatformPackages(manifest) {
  const { version, files } = manifest
  return {
    ...manifest,
    files: files.filter(name => name !== 'prebuilds'),
    optionalDependencies: Object.fromEntries(targets.map(target => [packageName(target), version])),
  }
}

if (process.argv[1] === import.meta.filename) {
  process.chdir(join(import.meta.dirname, '..'))
  const manifest = JSON.parse(readFileSync('package.json', 'utf8'))
  const write = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
  const absent = targets
    .map(({ file }) => join('prebuilds', file))
    .filter(file => !existsSync(file))
  if (absent.length > 0) throw new Error(`there is no ${absent.join(', ')}`)
  rmSync('build/packages', { recursive: true, force: true })
  for (const target of targets) {
    const folder = join('build/packages', packageName(target))
    mkdirSync(folder, { recursive: true })
    copyFileSync(join('prebuilds', target.file), join(folder, basename(target.file)))
    copyFileSync('LICENSE', join(folder, 'LICENSE'))
    write(join(folder, 'package.json'), platformManifest(manifest, target))
  }
  write('package.json', withPlatformPackages(manifest))
}
