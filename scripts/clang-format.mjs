// Runs clang-format over every native source; arguments go through.
import { spawnSync } from 'node:child_process'

const globs = ['bench', 'native', 'test'].flatMap(root =>
  ['cc', 'h', 'inc', 'cu', 'cuh', 'mm'].map(e => `${root}/*.${e}`),
)
const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '--', ...globs], {
  encoding: 'utf8',
})
const files = listed.stdout.split('\n').filter(Boolean)
if (files.length === 0) throw new Error('no native sources found')
const result = spawnSync(
  process.env.CLANG_FORMAT ?? 'clang-format-19',
  [...process.argv.slice(2), ...files],
  {
    stdio: 'inherit',
  },
)
if (result.error) throw result.error
process.exit(result.status ?? 1)
