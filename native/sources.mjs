// Prints the sources of the sections named in the arguments, for binding.gyp.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const wanted = process.argv.slice(2)
let section
for (const line of readFileSync(join(import.meta.dirname, 'sources.txt'), 'utf8').split(/\r?\n/)) {
  const heading = /^\[(\w+)\]$/.exec(line)
  if (heading) section = heading[1]
  else if (line && wanted.includes(section)) console.log(`native/${line}`)
}
