// Prints the sources of the sections named in the arguments, for binding.gyp.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const text = readFileSync(join(import.meta.dirname, 'sources.txt'), 'utf8').replace(/^#.*/gm, '')
const sections = new Map(
  [...text.matchAll(/^\[(\w+)\]\n([^[]*)/gm)].map(([, name, list]) => [
    name,
    list.trim().split('\n'),
  ]),
)
for (const name of process.argv.slice(2)) {
  for (const source of sections.get(name)) console.log(`native/${source}`)
}
