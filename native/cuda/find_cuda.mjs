// For binding.gyp: `home` prints where CUDA is, and nothing where there is none, or one that lacks the
// architectures and the compression that ship; `architectures` prints what to compile for.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const oldest = [12, 8]

function isNewEnough(home) {
  const nvcc = `${home}/bin/nvcc`
  if (!existsSync(nvcc)) return false
  const version = /release (\d+)\.(\d+)/.exec(
    execFileSync(nvcc, ['--version'], { encoding: 'utf8' }),
  )
  const [major, minor] = version.slice(1).map(Number)
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
}

function home() {
  if (process.platform !== 'linux') return ''
  return [process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean).find(isNewEnough) ?? ''
}

/** Without a GPU nvcc would say so for every file, and compile for the oldest. */
function architectures() {
  if (process.env.OPENELM_CUDA_ARCHITECTURES) return process.env.OPENELM_CUDA_ARCHITECTURES
  return spawnSync(`${home()}/bin/__nvcc_device_query`).status === 0 ? 'native' : 'sm_75'
}

console.log({ home, architectures }[process.argv[2]]())
