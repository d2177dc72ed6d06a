import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { succeed } from '../helpers/cli.js'

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0

t.test('bash completes commands, options and their values', { skip: !has('bash') }, async t => {
  const script = join(t.testdir(), 'openelm.bash')
  writeFileSync(script, await succeed(t, 'completion', 'bash'))
  const complete = (...words: string[]) => {
    const cursor = words.length
    const assign = `COMP_WORDS=("$@") COMP_CWORD=${cursor}`
    const line = `source '${script}'; ${assign}; _openelm; echo "\${COMPREPLY[*]}"`
    return execFileSync('bash', ['-c', line, 'bash', 'openelm', ...words], { encoding: 'utf8' })
      .trim()
      .split(' ')
  }
  t.same(complete('ge'), ['generate'])
  t.same(complete('comp'), ['completion'])
  t.same(complete('completion', ''), ['bash', 'zsh', 'fish'])
  t.same(complete('generate', '--max'), ['--max-tokens'])
  t.same(complete('generate', '-m', 'x', '--dtype', 'q'), ['q8', 'q4'])
  t.same(complete('quantize', '--dtype', ''), ['q8', 'q4'])
  t.ok(complete('train', '-').includes('--help'))
  t.same(complete('generate', 'x'), [''], 'what is no option is a file')
})

t.test('zsh takes the script', { skip: !has('zsh') }, async t => {
  const script = join(t.testdir(), 'openelm.zsh')
  writeFileSync(
    script,
    `autoload -U +X compinit && compinit -u\n${await succeed(t, 'completion', 'zsh')}`,
  )
  const line = `source '${script}'; COMP_WORDS=(openelm ge) COMP_CWORD=1; setopt ksharrays; _openelm; echo $COMPREPLY`
  t.equal(execFileSync('zsh', ['-fc', line], { encoding: 'utf8' }).trim(), 'generate')
})

t.test('fish completes the same', { skip: !has('fish') }, async t => {
  const script = join(t.testdir(), 'openelm.fish')
  writeFileSync(script, await succeed(t, 'completion', 'fish'))
  const complete = (line: string) =>
    execFileSync('fish', ['-c', `source '${script}'; complete -C '${line}'`], { encoding: 'utf8' })
  t.match(complete('openelm ge'), /^generate\t/)
  t.match(complete('openelm generate --max'), /^--max-tokens\t/)
  t.match(complete('openelm generate --dtype q'), /^q4|^q8/)
})
