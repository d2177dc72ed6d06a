import { cpus, freemem, totalmem } from 'node:os'
import { Command } from 'commander'
import { backends, machineInfo } from '../index.js'
import { mpiLibraries } from '../train/index.js'
import { formatBytes } from './format.js'
import { formatTable } from './table.js'
import { version } from './version.js'

export const doctor = new Command('doctor')
  .description('show what this machine offers, and why the rest is missing')
  .option('--json', 'print one JSON object')
  .addHelpText('after', '\nFails if the native addon cannot be loaded.')
  .action(({ json }) => {
    const findings = examine()
    if ('error' in findings.addon) process.exitCode = 1
    console.log(json ? JSON.stringify(findings) : describe(findings))
  })

function examine() {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  const glibcVersionRuntime = header?.glibcVersionRuntime
  const libc = glibcVersionRuntime ? `glibc ${glibcVersionRuntime}` : 'musl'
  return {
    version,
    node: process.version,
    platform: process.platform,
    arch: process.arch,
    ...(process.platform === 'linux' && { libc }),
    memory: { total: totalmem(), free: freemem() },
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    addon: examineAddon(),
  }
}

function examineAddon() {
  try {
    const { addon: path, ...machine } = machineInfo()
    return { path, ...machine, backends: backends(), mpi: mpiLibraries() }
  } catch (error) {
    return { error: (error as Error).message }
  }
}

function describe({ addon, ...machine }: ReturnType<typeof examine>): string {
  const { total, free } = machine.memory
  const rows = [
    ['openelm', machine.version],
    ['node', machine.node],
    ['platform', [machine.platform, machine.arch, machine.libc].filter(Boolean).join(' ')],
    ['memory', `${formatBytes(total)}, ${formatBytes(free)} of it free`],
    ['processor', machine.cpu],
  ]
  if ('error' in addon) return formatTable([...rows, ['addon', addon.error]], [], 2)
  rows.push(
    ['cores', String(addon.physicalCores)],
    ['threads by default', String(addon.threads)],
    ['features', addon.features.join(' ')],
    ['kernels', addon.kernels],
    ['addon', addon.path],
    ...addon.backends.map(({ name, available, device, reason }) => [
      name,
      available ? `available: ${device}` : `missing: ${reason}`,
    ]),
    ['MPI', describeMpi(addon.mpi)],
  )
  return formatTable(rows, [], 2)
}

function describeMpi(libraries: ReturnType<typeof mpiLibraries>): string {
  if (libraries.length === 0) return 'missing: found no library; apt install openmpi-bin brings one'
  return libraries.map(({ path, version }) => `${version} (${path})`).join(', ')
}
