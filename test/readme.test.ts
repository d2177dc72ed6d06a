import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
// @ts-expect-error: a script without types.
import { absoluteLinks, withRepository } from '../scripts/stamp-release.mjs'

const root = join(import.meta.dirname, '..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** Where the links and pictures of a Markdown text lead. */
function targets(markdown: string): string[] {
  return [...markdown.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map(match => match[1]!)
}

t.test('every relative link of the README leads to a file', async t => {
  const relative = targets(readme).filter(target => !/^\w+:/.test(target))
  t.ok(relative.length > 5)
  for (const target of relative) t.ok(existsSync(join(root, target)), target)
})

t.test('a release makes every link of the README absolute', async t => {
  const repository = 'https://host.example/owner/openelm'
  const published = absoluteLinks(readme, repository, 'v1.2.3')
  t.same(
    targets(published).filter(target => !target.startsWith('https://')),
    [],
  )
  t.match(published, `](${repository}/blob/v1.2.3/MODEL.md)`)
  t.match(published, `](${repository}/raw/v1.2.3/bench/results/decode.svg)`)
})

t.test('a release says where the repository is', async t => {
  t.same(withRepository({ name: 'openelm' }, 'https://host.example/owner/openelm'), {
    name: 'openelm',
    repository: { type: 'git', url: 'git+https://host.example/owner/openelm.git' },
    homepage: 'https://host.example/owner/openelm#readme',
    bugs: 'https://host.example/owner/openelm/issues',
  })
})
