import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename } from 'node:path'

/**
 * Serves the packages in `tarballs` as an npm registry on this machine, and sends whoever wants another to
 * the registry `upstream`. Returns its address; `close` ends it.
 */
export async function serveRegistry(tarballs, upstream) {
  const files = new Map(tarballs.map(path => [`/${basename(path)}`, readFileSync(path)]))
  const manifests = new Map()
  for (const path of tarballs) {
    const text = execFileSync('tar', ['-xzOf', path, 'package/package.json'], { encoding: 'utf8' })
    const manifest = JSON.parse(text)
    manifests.set(`/${manifest.name}`, { manifest, file: `/${basename(path)}` })
  }
  const server = createServer(({ url, headers }, response) => {
    const [path] = url.split('?')
    const known = manifests.get(path)
    const bytes = files.get(path)
    if (known) response.end(JSON.stringify(packument(known, files, `http://${headers.host}`)))
    else if (bytes) response.end(bytes)
    else response.writeHead(302, { location: new URL(url.slice(1), upstream).href }).end()
  })
  await new Promise(listening => server.listen(0, '127.0.0.1', listening))
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() }
}

/** What a registry says of a package with one version. */
function packument({ manifest, file }, files, address) {
  const digest = createHash('sha512').update(files.get(file)).digest('base64')
  const dist = { tarball: `${address}${file}`, integrity: `sha512-${digest}` }
  const { name, version } = manifest
  return {
    name,
    'dist-tags': { latest: version },
    versions: { [version]: { ...manifest, dist } },
    time: { [version]: '2026-01-01T00:00:00.000Z' },
  }
}
