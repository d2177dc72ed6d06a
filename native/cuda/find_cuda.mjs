// Prints where CUDA is, for binding.gyp: nothing where there is none, or one that lacks the architectures
// and the compression that ship.
import { execFileSync } from 'node:child_process'
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

const homes = [process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean)
console.log(process.platform === 'linux' ? (homes.find(isNewEnough) ?? '') : '')
