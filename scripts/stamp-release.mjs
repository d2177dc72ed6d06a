// Says in package.json and README.md where the repository is hosted, so that the links of the published
// README are absolute and npm can prove where the package was built. Only a release does this: the
// repository itself does not depend on where it is hosted.
//   node scripts/stamp-release.mjs https://HOST/OWNER/NAME vVERSION
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Makes the relative links and pictures of a Markdown text absolute. */
export function absoluteLinks(markdown, repository, tag) {
  return markdown.replace(
    /(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)/g,
    (_, picture, text, path) =>
      `${picture}[${text}](${repository}/${picture ? 'raw' : 'blob'}/${tag}/${path})`,
  )
}

/** What a published package.json says of the repository. */
export function withRepository(manifest, repository) {
  return {
    ...manifest,
    repository: { type: 'git', url: `git+${repository}.git` },
    homepage: `${repository}#readme`,
    bugs: `${repository}/issues`,
  }
}

if (process.argv[1] === import.meta.filename) {
  const [repository, tag] = process.argv.slice(2)
  const root = join(import.meta.dirname, '..')
  const read = name => readFileSync(join(root, name), 'utf8')
  const manifest = JSON.parse(read('package.json'))
  if (!/^https:\/\/[^/]+\/[^/]+\/[^/]+$/.test(repository ?? '')) {
    throw new Error('expected the address of the repository, as https://HOST/OWNER/NAME')
  }
  if (tag !== `v${manifest.version}`) {
    throw new Error(`the tag is ${tag}, but package.json says version ${manifest.version}`)
  }
  const stamped = withRepository(manifest, repository)
  writeFileSync(join(root, 'package.json'), `${JSON.stringify(stamped, null, 2)}\n`)
  writeFileSync(join(root, 'README.md'), absoluteLinks(read('README.md'), repository, tag))
}
